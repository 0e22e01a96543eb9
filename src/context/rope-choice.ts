// How a user names a RoPE scaling, and how one is chosen for a length.

import { UserError } from "../errors.ts";
import { BASES, MOST_FACTOR, type RopeScaling } from "./rope-scaling.ts";

const FORMS =
  "none, linear:s, ntk:s, dynamic-ntk:s, yarn:s[:original][:fast=f][:slow=f][:attention=a], " +
  "llama3:s[:original][:low=f][:high=f] or longrope, with s from 1 to 1000000 and low < high, slow < fast";

/** What may follow the factor, by the names that people write. */
const DETAILS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  yarn: { fast: "betaFast", slow: "betaSlow", attention: "attentionFactor" },
  llama3: { low: "low", high: "high" },
};

/** Reads "none", "linear:2", "yarn:4", "yarn:4:2048:fast=16:attention=1", "llama3:8:8192:low=1:high=4", "longrope". */
export function parseRope(text: string): RopeScaling {
  const invalid = () => new UserError(`Invalid RoPE scaling "${text}": expected ${FORMS}.`);
  if (text === "none" || text === "longrope") return { kind: text };
  const [, kind, s, tail = ""] = /^([a-z0-9-]+):([\d.]+)((?::[^:]+)*)$/.exec(text) ?? [];
  const scaling: Record<string, unknown> = { kind, factor: decimal(s) };
  const parts = tail.split(":").slice(1);
  const names = kind === undefined ? undefined : DETAILS[kind];
  if (names && parts[0] !== undefined && /^\d+$/.test(parts[0])) {
    scaling.original = Number(parts.shift());
  }
  for (const part of parts) {
    const [name = "", value] = part.split("=");
    const field = names?.[name];
    if (field === undefined || field in scaling) throw invalid();
    scaling[field] = decimal(value);
  }
  if (!isScaling(scaling)) throw invalid();
  return scaling;
}

/** A scaling that a script gives as an object, checked. */
export function checkRope(scaling: RopeScaling): RopeScaling {
  if (isScaling(scaling)) return scaling;
  throw new UserError(`Invalid RoPE scaling ${JSON.stringify(scaling)}: expected ${FORMS}.`);
}

function isScaling(scaling: object): scaling is RopeScaling {
  const { kind, factor, original, ...details } = scaling as Record<string, unknown>;
  if (kind === "none" || kind === "longrope") return factor === undefined;
  if (!["linear", "ntk", "dynamic-ntk", "yarn", "llama3"].includes(kind as string)) return false;
  const { betaFast = 32, betaSlow = 1, low = 1, high = 4 } = details;
  const positive = (value: unknown) =>
    value === undefined || (Number.isFinite(value) && (value as number) > 0);
  return (
    Number.isFinite(factor) &&
    (factor as number) >= 1 &&
    (factor as number) <= MOST_FACTOR &&
    [original, ...Object.values(details)].every(positive) &&
    (betaFast as number) > (betaSlow as number) &&
    (high as number) > (low as number)
  );
}

function decimal(text: string | undefined): number {
  return /^(\d+\.?\d*|\.\d+)$/.test(text ?? "") ? Number(text) : Number.NaN;
}

/** As on the command line: "yarn:4:2048". */
export function formatRope(scaling: RopeScaling): string {
  if (scaling.kind === "none" || scaling.kind === "longrope") return scaling.kind;
  const { kind, factor, original, ...details } = scaling as Extract<RopeScaling, { kind: "yarn" }>;
  const spelled = Object.entries(DETAILS[kind] ?? {}).flatMap(([name, field]) => {
    const value = (details as Record<string, number | undefined>)[field];
    return value === undefined ? [] : [`${name}=${value}`];
  });
  return [kind, factor, ...(original === undefined ? [] : [original]), ...spelled].join(":");
}

/** A base of rotary frequencies that is given in place of the file's. Throws a `UserError` for what is none. */
export function checkFreqBase(base: number): number {
  const [least, most] = BASES;
  if (Number.isFinite(base) && base >= least && base <= most) return base;
  throw new UserError(
    `Invalid base of the rotary frequencies ${base}: expected a number from ${least} to ${most}; leave it out for the file's own.`,
  );
}

/**
 * A scaling under an explicit frequency scale, as llama.cpp's `--rope-freq-scale`: 0.25 stretches positions by 4. It
 * takes the place of the factor of linear scaling and YaRN, and turns no scaling into linear.
 */
export function withFreqScale(scaling: RopeScaling, freqScale: number | undefined): RopeScaling {
  if (freqScale === undefined) return scaling;
  if (!(freqScale >= 1 / MOST_FACTOR && freqScale <= 1)) {
    throw new UserError(
      `Invalid RoPE frequency scale ${freqScale}: expected a number from ${1 / MOST_FACTOR} to 1.`,
    );
  }
  const factor = 1 / freqScale;
  if (scaling.kind === "none") return { kind: "linear", factor };
  if (scaling.kind === "linear" || scaling.kind === "yarn") return { ...scaling, factor };
  throw new UserError(
    `A RoPE frequency scale goes with none, linear or yarn, not with ${formatRope(scaling)}.`,
  );
}

export interface RopeChoice {
  readonly scaling: RopeScaling;
  /** One sentence for the user. */
  readonly reason: string;
}

/**
 * Chooses a method and its factor for texts of `context` tokens.
 *
 * Within what the model was trained for, nothing changes. Beyond, YaRN: of the methods that need no training it loses
 * least at every length in Peng et al. 2023 (arXiv:2309.00071, table 1 and figure 5), and unlike a moving base it lets
 * keys be stored rotated. A model that was trained with a scaling of its own keeps that method with a larger factor,
 * since its weights expect it.
 */
export function chooseRope(
  model: {
    readonly trainedContext: number;
    readonly originalContext: number;
    readonly scaling: RopeScaling;
  },
  context: number,
): RopeChoice {
  const { trainedContext, originalContext, scaling } = model;
  const trained = `the ${trainedContext} tokens that the model was trained for`;
  if (context <= trainedContext) {
    return {
      scaling,
      reason: `${context} tokens are within ${trained}: what the file says (${formatRope(scaling)}).`,
    };
  }
  // Rounded up to a quarter: a factor just too small would leave the last positions outside.
  const factor = Math.ceil((context / originalContext) * 4) / 4;
  const kept = scaling.kind === "linear" || scaling.kind === "yarn" || scaling.kind === "llama3";
  const chosen: RopeScaling = kept ? { ...scaling, factor } : { kind: "yarn", factor };
  const why = kept
    ? `the model's own method, with ${context} / ${originalContext} rounded up`
    : `YaRN, the method that loses least without training, with ${context} / ${originalContext} rounded up`;
  return {
    scaling: chosen,
    reason: `${context} tokens exceed ${trained}: ${formatRope(chosen)}, ${why}.`,
  };
}
