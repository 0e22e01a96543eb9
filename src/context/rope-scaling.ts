// Rotary position embedding and the methods that carry it past the trained length, as pure f64 arithmetic.
//                                                                             Su et al. 2021, arXiv:2104.09864
// Pair i of a head of E numbers turns by position * theta_i; a method changes theta, and may stretch the vectors.

import { UserError } from "../kernels/errors.ts";

export type RopeScaling =
  | { readonly kind: "none" }
  /** Position interpolation: theta / factor. Chen et al. 2023, arXiv:2306.15595 */
  | { readonly kind: "linear"; readonly factor: number }
  /** A larger base: the highest frequency stays, the lowest is divided by factor. bloc97 2023, "NTK-aware" */
  | { readonly kind: "ntk"; readonly factor: number }
  /** Peng et al. 2023, arXiv:2309.00071 */
  | {
      readonly kind: "yarn";
      readonly factor: number;
      /** The length the model was trained for before scaling. Default: what the model says. */
      readonly original?: number | undefined;
    };

/** What a model's file says of its rotations. */
export interface RopeModel {
  /** E: numbers of a head that rotate. */
  readonly width: number;
  readonly base: number;
  /** The length the model was trained for, before any scaling. */
  readonly originalContext: number;
  /** Divisors of the frequencies, one a pair, where the file has `rope_freqs.weight` (Llama 3.1). */
  readonly divisors?: Float32Array | undefined;
}

export interface RopeFrequencies {
  /** theta_i in radians a position, [E/2]. */
  readonly theta: Float64Array;
  /** Both query and key are stretched by it (YaRN's attention temperature). */
  readonly magnitude: number;
}

const FORMS = "none, linear:s, ntk:s or yarn:s[:original] with s >= 1";

/** Reads "none", "linear:2", "ntk:2", "yarn:4" or "yarn:4:2048". */
export function parseRope(text: string): RopeScaling {
  if (text === "none") return { kind: "none" };
  const [, kind, s, original] = /^(linear|ntk|yarn):([\d.]+)(?::(\d+))?$/.exec(text) ?? [];
  const factor = Number(s);
  const scaling =
    kind === "yarn"
      ? { kind, factor, original: original === undefined ? undefined : Number(original) }
      : kind !== undefined && original === undefined
        ? { kind, factor }
        : undefined;
  if (!scaling || !(factor >= 1) || !Number.isFinite(factor) || original === "0") {
    throw new UserError(`Invalid RoPE scaling "${text}": expected ${FORMS}.`);
  }
  return scaling as RopeScaling;
}

/** The frequencies of a model under a scaling. */
export function ropeFrequencies(model: RopeModel, scaling: RopeScaling): RopeFrequencies {
  const { width, base, divisors } = model;
  const factor = scaling.kind === "none" ? 1 : scaling.factor;
  const plain = geometric(
    scaling.kind === "ntk" ? base * factor ** (width / (width - 2)) : base,
    width,
  );
  const theta = divisors ? plain.map((value, i) => value / divisors[i]!) : plain;
  switch (scaling.kind) {
    case "none":
    case "ntk":
      return { theta, magnitude: 1 };
    case "linear":
      return { theta: theta.map((value) => value / factor), magnitude: 1 };
    case "yarn":
      return {
        theta: yarn(theta, model, factor, scaling.original ?? model.originalContext),
        magnitude: 1 + 0.1 * Math.log(factor),
      };
  }
}

/** base^(-2i/E) for every pair i. */
function geometric(base: number, width: number): Float64Array {
  return Float64Array.from({ length: width / 2 }, (_, i) => base ** ((-2 * i) / width));
}

/** Pairs that turn often within the trained length keep their frequency, slow ones are interpolated, others blended. */
function yarn(
  theta: Float64Array,
  { width, base }: RopeModel,
  factor: number,
  original: number,
): Float64Array {
  const betaFast = 32; // turns within the trained length from which a pair is left alone
  const betaSlow = 1; // turns up to which it is interpolated
  const pairWithTurns = (turns: number) =>
    (width * Math.log(original / (2 * Math.PI * turns))) / (2 * Math.log(base));
  const low = Math.max(0, Math.floor(pairWithTurns(betaFast)));
  const high = Math.min(width - 1, Math.ceil(pairWithTurns(betaSlow)));
  return theta.map((value, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / Math.max(0.001, high - low)));
    return (value / factor) * ramp + value * (1 - ramp);
  });
}

/**
 * Writes (cos, sin) of every pair at a position, [E/2, 2], stretched by the magnitude. Angles are computed in f64:
 * f32 cannot hold the angle of position 4,000,000, and WGSL promises little about its sine.
 */
export function writeTurns(
  { theta, magnitude }: RopeFrequencies,
  position: number,
  into: Float32Array,
  at: number,
): void {
  for (let i = 0; i < theta.length; i++) {
    const angle = position * theta[i]!;
    into[at + 2 * i] = Math.cos(angle) * magnitude;
    into[at + 2 * i + 1] = Math.sin(angle) * magnitude;
  }
}
