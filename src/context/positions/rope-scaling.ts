// Rotary position embedding and the methods that carry it past the trained length, as pure f64 arithmetic.
//                                                                             Su et al. 2021, arXiv:2104.09864
// Pair i of a head of E numbers turns by position * theta_i; a method changes theta, and may stretch the vectors.

import { UserError } from "../../errors.ts";

export type RopeScaling =
  | { readonly kind: "none" }
  /** Position interpolation: theta / factor. Chen et al. 2023, arXiv:2306.15595 */
  | { readonly kind: "linear"; readonly factor: number }
  /** A larger base: the highest frequency stays, the lowest is divided by factor. bloc97 2023, "NTK-aware" */
  | { readonly kind: "ntk"; readonly factor: number }
  /**
   * NTK-aware with a base that grows with the text once it is longer than the trained length. emozilla 2023; the
   * formula is that of Hugging Face's "dynamic". Cached keys must turn with it: they are stored without rotation.
   */
  | { readonly kind: "dynamic-ntk"; readonly factor: number }
  /** Peng et al. 2023, arXiv:2309.00071 */
  | {
      readonly kind: "yarn";
      readonly factor: number;
      /** The length the model was trained for before scaling. Default: what the model says. */
      readonly original?: number | undefined;
      /** Rotations within that length from which a pair is left alone. Default: 32. */
      readonly betaFast?: number | undefined;
      /** Rotations up to which a pair is interpolated. Default: 1. */
      readonly betaSlow?: number | undefined;
      /** What queries and keys are stretched by. Default: 1 + 0.1 ln factor. */
      readonly attentionFactor?: number | undefined;
    }
  /** Llama 3.1: long waves are divided, short ones kept, those between blended. Its files carry the result. */
  | {
      readonly kind: "llama3";
      readonly factor: number;
      /** Waves longer than original / low are divided. Default: 1. */
      readonly low?: number | undefined;
      /** Waves shorter than original / high are kept. Default: 4. */
      readonly high?: number | undefined;
      readonly original?: number | undefined;
    }
  /** Ding et al. 2024, arXiv:2402.13753: a divisor for each pair, from the file. */
  | { readonly kind: "longrope" };

/** The least and the largest base of rotary frequencies that makes sense, and the largest factor of a scaling. */
export const BASES = [1, 1e30] as const;
export const MAX_FACTOR = 1e6;

/** A method whose frequencies stay. */
export type FixedScaling = Exclude<RopeScaling, { kind: "dynamic-ntk" }>;

/** Divisors of the frequencies, one a pair, [E/2], that a file may carry. */
export interface RopeDivisors {
  /** `rope_freqs.weight`: always on (Llama 3.1). */
  readonly always?: Float32Array | undefined;
  /** `rope_factors_short.weight` and `rope_factors_long.weight`: LongRoPE, up to the original length and beyond. */
  readonly short?: Float32Array | undefined;
  readonly long?: Float32Array | undefined;
  /** What LongRoPE stretches queries and keys by. */
  readonly attentionFactor?: number | undefined;
}

/** What a model's file says of its rotations, and the context it is used with. */
export interface RopeModel {
  /** E: numbers of a head that rotate. */
  readonly width: number;
  readonly base: number;
  /** The length the model was trained for, before any scaling. */
  readonly originalContext: number;
  /** The longest text to come: what LongRoPE chooses its divisors by. Default: the original length. */
  readonly context?: number | undefined;
  readonly divisors?: RopeDivisors | undefined;
}

export interface RopeFrequencies {
  /** theta_i in radians a position, [E/2]. */
  readonly theta: Float64Array;
  /** Both query and key are stretched by it. */
  readonly magnitude: number;
}

/** Rotations of a model under a method. */
export interface Rope {
  /** The length from which on the frequencies change with every token, so that keys cannot be stored rotated. */
  readonly movesBeyond: number;
  /** The frequencies when `length` tokens are visible. */
  frequencies(length: number): RopeFrequencies;
}

/** Rotations that never change. */
export function fixedRope(frequencies: RopeFrequencies): Rope {
  return { movesBeyond: Number.POSITIVE_INFINITY, frequencies: () => frequencies };
}

/** Prepares the rotations of a model under a scaling. Throws a `UserError` if the model lacks what it needs. */
export function createRope(model: RopeModel, scaling: RopeScaling): Rope {
  if (scaling.kind !== "dynamic-ntk") return fixedRope(ropeFrequencies(model, scaling));
  const { originalContext: L } = model;
  const plain = ropeFrequencies(model, { kind: "none" });
  let last = { factor: 1, frequencies: plain };
  return {
    movesBeyond: L,
    frequencies(length: number): RopeFrequencies {
      if (length <= L) return plain;
      const factor = (scaling.factor * length) / L - (scaling.factor - 1);
      if (factor !== last.factor) {
        last = { factor, frequencies: ropeFrequencies(model, { kind: "ntk", factor }) };
      }
      return last.frequencies;
    },
  };
}

/** The frequencies of a model under a method that does not move them. */
export function ropeFrequencies(model: RopeModel, scaling: FixedScaling): RopeFrequencies {
  const { width, base, divisors, originalContext } = model;
  const enlarged = scaling.kind === "ntk" ? base * scaling.factor ** (width / (width - 2)) : base;
  const theta = divide(geometric(enlarged, width), divisors?.always);
  switch (scaling.kind) {
    case "none":
    case "ntk":
      return { theta, magnitude: 1 };
    case "linear":
      return { theta: theta.map((value) => value / scaling.factor), magnitude: 1 };
    case "yarn":
      return {
        theta: yarn(theta, model, scaling),
        magnitude: scaling.attentionFactor ?? 1 + 0.1 * Math.log(scaling.factor),
      };
    case "llama3":
      return { theta: llama3(theta, scaling, originalContext), magnitude: 1 };
    case "longrope": {
      const longer = (model.context ?? originalContext) > originalContext;
      const chosen = longer ? divisors?.long : divisors?.short;
      if (!chosen)
        throw new UserError("RoPE scaling longrope needs factors, and this model's file has none.");
      return { theta: divide(theta, chosen), magnitude: divisors?.attentionFactor ?? 1 };
    }
  }
}

/** base^(-2i/E) for every pair i. */
function geometric(base: number, width: number): Float64Array {
  return Float64Array.from({ length: width / 2 }, (_, i) => base ** ((-2 * i) / width));
}

function divide(theta: Float64Array, divisors: Float32Array | undefined): Float64Array {
  return divisors ? theta.map((value, i) => value / divisors[i]!) : theta;
}

/** Pairs that turn often within the trained length keep their frequency, slow ones are interpolated, others blended. */
function yarn(
  theta: Float64Array,
  { width, base, originalContext }: RopeModel,
  {
    factor,
    original = originalContext,
    betaFast = 32,
    betaSlow = 1,
  }: RopeScaling & { kind: "yarn" },
): Float64Array {
  const pairWithRotations = (rotations: number) =>
    (width * Math.log(original / (2 * Math.PI * rotations))) / (2 * Math.log(base));
  const low = Math.max(0, Math.floor(pairWithRotations(betaFast)));
  const high = Math.min(width - 1, Math.ceil(pairWithRotations(betaSlow)));
  return theta.map((value, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / Math.max(0.001, high - low)));
    return (value / factor) * ramp + value * (1 - ramp);
  });
}

/** Waves longer than original / low are divided by the factor, shorter than original / high kept, others blended. */
function llama3(
  theta: Float64Array,
  { factor, low = 1, high = 4, original }: RopeScaling & { kind: "llama3" },
  originalContext: number,
): Float64Array {
  const length = original ?? originalContext;
  return theta.map((value) => {
    const rotations = (length * value) / (2 * Math.PI); // within the original length
    const kept = Math.min(1, Math.max(0, (rotations - low) / (high - low)));
    return (1 - kept) * (value / factor) + kept * value;
  });
}

/**
 * Writes (cos, sin) of every pair at a position, [E/2, 2], stretched by the magnitude. Angles are computed in f64:
 * f32 cannot hold the angle of position 4,000,000, and WGSL promises little about its sine.
 */
export function writeRotation(
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
