// Reads a RoPE scaling that a user names, and chooses one for a length.

import { UserError } from "../../errors.ts";
import { invalid, isOfKind, number, type Reader } from "../../option-reader.ts";
import { BASES, MAX_FACTOR, type RopeScaling } from "./rope-scaling.ts";

const FORMS =
  "none, linear:s, ntk:s, dynamic-ntk:s, yarn:s[:original][:fast=f][:slow=f][:attention=a], " +
  "llama3:s[:original][:low=f][:high=f] or longrope, with s from 1 to 1000000 and low < high, slow < fast";

/** The details that may follow the factor, by their names in text. */
const DETAILS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  yarn: { fast: "betaFast", slow: "betaSlow", attention: "attentionFactor" },
  llama3: { low: "low", high: "high" },
};

/**
 * Reads "none", "linear:2", "yarn:4", "yarn:4:2048:fast=16:attention=1",
 * "llama3:8:8192:low=1:high=4", "longrope".
 */
export function parseRope(text: string): RopeScaling {
  const refusal = () => invalid("RoPE scaling", text, FORMS, Object.keys(KINDS));
  if (typeof text !== "string") throw refusal();
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
    if (field === undefined || field in scaling) throw refusal();
    scaling[field] = decimal(value);
  }
  if (!isScaling(scaling)) throw refusal();
  return scaling;
}

/** A scaling as text: a kind alone, or with details after a colon, as `parseRope` reads it. */
export type RopeText =
  | "none"
  | "longrope"
  | `${"linear" | "ntk" | "dynamic-ntk"}:${number}`
  | `${"yarn" | "llama3"}:${number}${"" | `:${string}`}`;

/** All the forms in which a scaling may be given. */
export type RopeChoiceOption = RopeScaling | RopeText;

/** A scaling from a text or an object. */
export const ropeReader: Reader<RopeScaling> = (value, option) => {
  if (typeof value === "string") return parseRope(value);
  if (isScaling(value)) return value;
  throw invalid(option, value, FORMS, Object.keys(KINDS));
};

/** A scaling that a script gives, checked. Throws a `UserError` that quotes it. */
export function checkRope(scaling: RopeChoiceOption): RopeScaling {
  return ropeReader(scaling, "RoPE scaling");
}

const isFactor = (value: unknown) =>
  Number.isFinite(value) && (value as number) >= 1 && (value as number) <= MAX_FACTOR;
const isDetail = (value: unknown) =>
  value === undefined || (Number.isFinite(value) && (value as number) > 0);

const KINDS = {
  none: {},
  longrope: {},
  linear: { factor: isFactor },
  ntk: { factor: isFactor },
  "dynamic-ntk": { factor: isFactor },
  yarn: {
    factor: isFactor,
    original: isDetail,
    betaFast: isDetail,
    betaSlow: isDetail,
    attentionFactor: isDetail,
  },
  llama3: { factor: isFactor, original: isDetail, low: isDetail, high: isDetail },
};

function isScaling(scaling: unknown): scaling is RopeScaling {
  if (!isOfKind(scaling, KINDS)) return false;
  const { betaFast = 32, betaSlow = 1, low = 1, high = 4 } = scaling as Record<string, number>;
  return betaFast > betaSlow && high > low;
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

/** A base of rotary frequencies instead of the file's. */
export const freqBaseReader = number(...BASES);

/** A factor of rotary frequencies. */
export const freqScaleReader = number(1 / MAX_FACTOR, 1);

/**
 * A scaling under an explicit frequency scale, as llama.cpp's `--rope-freq-scale`: 0.25 stretches
 * positions by 4. It replaces the factor of linear scaling and YaRN, and turns "none" into linear
 * scaling.
 */
export function withFreqScale(scaling: RopeScaling, freqScale: number | undefined): RopeScaling {
  if (freqScale === undefined) return scaling;
  freqScaleReader(freqScale, "RoPE frequency scale");
  const factor = 1 / freqScale;
  if (scaling.kind === "none") return { kind: "linear", factor };
  if (scaling.kind === "linear" || scaling.kind === "yarn") return { ...scaling, factor };
  throw new UserError(
    `A RoPE frequency scale goes with none, linear or yarn, not with ${formatRope(scaling)}.`,
  );
}

interface RopeChoice {
  readonly scaling: RopeScaling;
  /** One sentence for the user. */
  readonly reason: string;
}

/**
 * Chooses a method and its factor for texts of `context` tokens.
 *
 * Within the trained length nothing changes. Beyond it, YaRN: of the methods that need no training
 * it loses least at every length in Peng et al. 2023 (arXiv:2309.00071, table 1 and figure 5), and
 * unlike dynamic NTK it allows keys to be stored rotated. A model that was trained with a scaling
 * keeps that method with a larger factor.
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
  // Rounded up to a quarter: a factor slightly too small would not cover the last positions.
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
