// Rotary position embedding, and the methods that extend it beyond the trained length, as pure f64
// arithmetic.                                                      Su et al. 2021, arXiv:2104.09864
// Pair i of a head of E numbers is rotated by position * theta_i; a method changes theta, and may
// scale the vectors.

import { UserError } from "../../errors.ts";

export type RopeScaling =
  | { readonly kind: "none" }
  /** Position interpolation: theta / factor. Chen et al. 2023, arXiv:2306.15595 */
  | { readonly kind: "linear"; readonly factor: number }
  /**
   * A larger base: the highest frequency stays, the lowest is divided by factor. bloc97 2023,
   * "NTK-aware"
   */
  | { readonly kind: "ntk"; readonly factor: number }
  /**
   * NTK-aware with a base that grows with the text once it is longer than the trained length.
   * emozilla 2023; the formula is that of Hugging Face's "dynamic". Cached keys have to follow it,
   * so they are stored raw.
   */
  | { readonly kind: "dynamic-ntk"; readonly factor: number }
  /** Peng et al. 2023, arXiv:2309.00071 */
  | {
      readonly kind: "yarn";
      readonly factor: number;
      /** The length the model was trained for before scaling. Default: what the model says. */
      readonly original?: number | undefined;
      /**
       * A pair with at least this many rotations within that length is not changed. Default: 32.
       */
      readonly betaFast?: number | undefined;
      /** A pair with at most this many is interpolated. Default: 1. */
      readonly betaSlow?: number | undefined;
      /** The factor that queries and keys are scaled by. Default: 1 + 0.1 ln factor. */
      readonly attentionFactor?: number | undefined;
    }
  /**
   * Llama 3.1: long waves are divided, short ones kept, those between blended. Its files carry the
   * result.
   */
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

/**
 * The smallest and largest valid base of rotary frequencies, and the largest factor of a scaling.
 */
export const BASES = [1, 1e30] as const;
export const MAX_FACTOR = 1e6;

/** A method whose frequencies do not depend on the length of the text. */
export type FixedScaling = Exclude<RopeScaling, { kind: "dynamic-ntk" }>;

/** Divisors of the frequencies, one a pair, [E/2], that a file may carry. */
export interface RopeDivisors {
  /** `rope_freqs.weight`: always on (Llama 3.1). */
  readonly always?: Float32Array | undefined;
  /**
   * `rope_factors_short.weight` and `rope_factors_long.weight`: LongRoPE, up to the original length
   * and beyond.
   */
  readonly short?: Float32Array | undefined;
  readonly long?: Float32Array | undefined;
  /** The factor by which LongRoPE scales queries and keys. */
  readonly attentionFactor?: number | undefined;
}

/** The rotation that a model's file describes, and the context it is used with. */
export interface RopeModel {
  /** R: numbers of a head that rotate. */
  readonly width: number;
  readonly base: number;
  /** The length the model was trained for, before any scaling. */
  readonly originalContext: number;
  /**
   * The longest possible text, by which LongRoPE chooses its divisors. Default: the original
   * length.
   */
  readonly context?: number | undefined;
  readonly divisors?: RopeDivisors | undefined;
  readonly temperature?: QueryTemperature | undefined;
}

export interface RopeFrequencies {
  /** theta_i in radians a position, [R/2]. */
  readonly theta: Float64Array;
  /** Both query and key are scaled by it. */
  readonly magnitude: number;
}

/** How much queries grow with their position: 1 + scale ln(1 + floor(position / length)). */
export interface QueryTemperature {
  readonly scale: number;
  /** Tokens. */
  readonly length: number;
}

/**
 * What queries at a position are multiplied by: so that attention stays sharp in long texts.
 *                                                Nakanishi 2025, arXiv:2501.19399 (Ministral 3, Llama 4)
 */
export function temperatureAt(temperature: QueryTemperature | undefined, position: number): number {
  if (!temperature) return 1;
  const { scale, length } = temperature;
  return 1 + scale * Math.log(1 + Math.floor(position / length));
}

/** Rotations of a model under a method. */
export interface Rope {
  /**
   * The length beyond which the frequencies change with every token, so that keys cannot be stored
   * rotated.
   */
  readonly movesBeyond: number;
  readonly temperature?: QueryTemperature | undefined;
  /** The frequencies when `length` tokens are visible. */
  frequencies(length: number): RopeFrequencies;
}

/** The rotations of layers that know no positions: by nothing. */
export const NO_ROPE: Rope = fixedRope({ theta: new Float64Array(), magnitude: 1 });

/** Rotations that do not depend on the length of the text. */
export function fixedRope(frequencies: RopeFrequencies): Rope {
  return { movesBeyond: Number.POSITIVE_INFINITY, frequencies: () => frequencies };
}

/**
 * Prepares the rotations of a model under a scaling. Throws a `UserError` if the model lacks what
 * it needs.
 */
export function createRope(model: RopeModel, scaling: RopeScaling): Rope {
  const { temperature } = model;
  if (scaling.kind !== "dynamic-ntk") {
    return { ...fixedRope(ropeFrequencies(model, scaling)), temperature };
  }
  const { originalContext: L } = model;
  const plain = ropeFrequencies(model, { kind: "none" });
  let last = { factor: 1, frequencies: plain };
  return {
    movesBeyond: L,
    temperature,
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

/** The frequencies of a model under a method with fixed frequencies. */
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

/**
 * Pairs with many rotations within the trained length keep their frequency, slow ones are
 * interpolated, others blended.
 */
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

/**
 * Waves longer than original / low are divided by the factor, shorter than original / high kept,
 * others blended.
 */
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
 * Writes (cos, sin) of every pair of a head at a position, [E/2, 2], scaled by the magnitude; pairs
 * that do not rotate get (1, 0). All are multiplied by `factor`. Angles are computed in f64: f32
 * cannot hold the angle of position 4,000,000, and WGSL promises little about its sine.
 */
export function writeRotation(
  { theta, magnitude }: RopeFrequencies,
  position: number,
  into: Float32Array,
  at: number,
  headWidth = 2 * theta.length,
  factor = 1,
): void {
  for (let i = 0; i < headWidth / 2; i++) {
    const rotates = i < theta.length;
    const angle = rotates ? position * theta[i]! : 0;
    const length = rotates ? magnitude * factor : factor;
    into[at + 2 * i] = Math.cos(angle) * length;
    into[at + 2 * i + 1] = Math.sin(angle) * length;
  }
}
