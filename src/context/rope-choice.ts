// How a user names a RoPE scaling, and how one is chosen for a length.

import { UserError } from "../kernels/errors.ts";
import type { RopeScaling } from "./rope-scaling.ts";

const FORMS =
  "none, linear:s, ntk:s, dynamic-ntk:s, yarn:s[:original], llama3:s[:original] or longrope, with s >= 1";

/** Reads "none", "linear:2", "ntk:2", "dynamic-ntk:2", "yarn:4", "yarn:4:2048", "llama3:8:8192" or "longrope". */
export function parseRope(text: string): RopeScaling {
  if (text === "none" || text === "longrope") return { kind: text };
  const [, kind, s, original] =
    /^(linear|ntk|dynamic-ntk|yarn|llama3):(\d+\.?\d*|\.\d+)(?::(\d+))?$/.exec(text) ?? [];
  const factor = Number(s);
  const takesOriginal = kind === "yarn" || kind === "llama3";
  const valid =
    kind !== undefined &&
    factor >= 1 &&
    Number.isFinite(factor) &&
    (original === undefined || (takesOriginal && Number(original) > 0));
  if (!valid) throw new UserError(`Invalid RoPE scaling "${text}": expected ${FORMS}.`);
  return {
    kind,
    factor,
    ...(takesOriginal && original !== undefined ? { original: Number(original) } : {}),
  } as RopeScaling;
}

/** As on the command line: "yarn:4:2048". */
export function formatRope(scaling: RopeScaling): string {
  if (scaling.kind === "none" || scaling.kind === "longrope") return scaling.kind;
  const original =
    "original" in scaling && scaling.original !== undefined ? `:${scaling.original}` : "";
  return `${scaling.kind}:${scaling.factor}${original}`;
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
