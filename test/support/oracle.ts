// The forward pass in f64, without any cache: every query is computed anew over the keys that it sees, and what it sees
// stands in a cache of its own, in which positions are assigned anew as StreamingLLM does (arXiv:2309.17453, 3.2). It
// shares with the engine the formulas of `reference.ts` and nothing of pages, steps, masks and rotations. How keys come to
// their places is said three times over: anew for every query, by turning what is cached a
// little further at every eviction, and not at all.

import { attend, gatedActivation, project, rmsNorm, rope } from "../../src/kernels/reference.ts";
import { EPSILON, ROPE_BASE, TINY_TOKENS, type TinyModel, type TinyShape } from "./tiny-model.ts";

export interface Visibility {
  readonly sinks: number;
  /** Infinity: all. */
  readonly window: number;
}

export const ALL: Visibility = { sinks: 0, window: Number.POSITIVE_INFINITY };

/** The query of a step and the keys that it sees, each turned to its place. */
interface Placed {
  readonly keys: readonly Float64Array[];
  /** The place of the query. */
  readonly place: number;
}

/** One for each head of keys: gets the keys as they are, is asked for the queries at 0, 1, 2, ... in turn. */
export type Placing = (
  shape: TinyShape,
  visibility: Visibility,
) => (keyAt: (position: number) => Float64Array, query: number) => Placed;

/** Positions are assigned anew to what a query sees. */
const anew: Placing = (shape, visibility) => (keyAt, query) => {
  const keys = visible(query, visibility).map((j, place) => turn(shape, keyAt(j), place));
  return { keys, place: keys.length - 1 };
};

/** Positions are those of the text: what a model with a sliding window was trained with. */
export const inText: Placing = (shape, visibility) => (keyAt, query) => ({
  keys: visible(query, visibility).map((j) => turn(shape, keyAt(j), j)),
  place: query,
});

/**
 * llama.cpp's K-shift: a key is turned once to the place at which it enters the cache. Whenever the oldest key of a full
 * window is dropped, those behind it move up, each turned by `delta` places on top of all that it was turned before.
 */
export const kShift =
  (delta = -1): Placing =>
  (shape, { sinks, window }) => {
    let cached: Float64Array[] = [];
    return (keyAt, query) => {
      if (cached.length === sinks + window) {
        const moved = cached.slice(sinks + 1).map((key) => turn(shape, key, delta));
        cached = [...cached.slice(0, sinks), ...moved];
      }
      const place = cached.length;
      cached.push(turn(shape, keyAt(query), place));
      return { keys: cached, place };
    };
  };

/** What a cache leaves of a key or a value that it stores. */
export type Stored = (row: Float64Array) => Float64Array;

/** Keys that are stored when they have been turned. */
export const storedTurned =
  (placing: Placing, stored: Stored): Placing =>
  (shape, visibility) => {
    const place = placing(shape, visibility);
    return (keyAt, query) => {
      const placed = place(keyAt, query);
      return { ...placed, keys: placed.keys.map(stored) };
    };
  };

/** Keys that are stored as they are, and turned then. */
export const storedRaw =
  (placing: Placing, stored: Stored): Placing =>
  (shape, visibility) => {
    const place = placing(shape, visibility);
    return (keyAt, query) => place((position) => stored(keyAt(position)), query);
  };

/** Logits [T, V] after each token; visibility is that of all layers, or one a layer. Keys are stored as `placing` says, values by `stored`; by default exactly. */
export function oracleLogits(
  model: TinyModel,
  tokens: readonly number[],
  visibility: Visibility | readonly Visibility[] = ALL,
  placing: Placing = anew,
  stored: Stored = (row) => row,
): Float64Array {
  const { shape, weights } = model;
  const last = oracleStates(model, tokens, visibility, placing, stored).at(-1)!;
  const name = shape.tied ? "token_embd" : "output";
  const [T, V] = [tokens.length, TINY_TOKENS.length];
  const logits = project(last, weights.get(`${name}.weight`)!, T, V, shape.width);
  const bias = shape.tied ? undefined : weights.get("output.bias");
  return bias ? logits.map((value, i) => value + bias[i % V]!) : logits;
}

/** The embeddings of the tokens, the residual stream [T, D] behind each layer, and the output norm of the last in its place. */
export function oracleStates(
  { shape, weights }: TinyModel,
  tokens: readonly number[],
  visibility: Visibility | readonly Visibility[] = ALL,
  placing: Placing = anew,
  stored: Stored = (row) => row,
): Float64Array[] {
  const { width: D, heads: H, kvHeads: G, headWidth: E, feedForward: F } = shape;
  const T = tokens.length;
  const epsilon = Math.fround(EPSILON);
  const weight = (name: string) => weights.get(`${name}.weight`)!;
  const linear = (x: Float64Array, name: string, n: number, k: number) => {
    const bias = weights.get(`${name}.bias`);
    const y = project(x, weight(name), T, n, k);
    return bias ? y.map((value, i) => value + bias[i % n]!) : y;
  };
  const heads = (x: Float64Array, name: string) => {
    const norm = weights.get(`${name}.weight`);
    return norm ? rmsNorm(x, norm, x.length / E, epsilon) : x;
  };

  const embedding = weight("token_embd");
  let x: Float64Array = new Float64Array(T * D);
  tokens.forEach((id, t) => {
    x.set(embedding.subarray(id * D, (id + 1) * D), t * D);
  });
  const states = [x];
  for (let layer = 0; layer < shape.layers; layer++) {
    const name = (suffix: string) => `blk.${layer}.${suffix}`;
    const seeing = "window" in visibility ? visibility : visibility[layer]!;
    const normed = rmsNorm(x, weight(name("attn_norm")), T, epsilon);
    const q = heads(linear(normed, name("attn_q"), H * E, D), name("attn_q_norm"));
    const k = heads(linear(normed, name("attn_k"), G * E, D), name("attn_k_norm"));
    const v = linear(normed, name("attn_v"), G * E, D);
    const attended = new Float64Array(T * H * E);
    const rowOf = (all: Float64Array, row: number) => all.subarray(row * E, (row + 1) * E);
    const scale = shape.attentionScale ? Math.fround(shape.attentionScale) : 1 / Math.sqrt(E);
    for (let g = 0; g < G; g++) {
      const placed = placing(shape, seeing);
      for (let t = 0; t < T; t++) {
        const { keys, place } = placed((j) => rowOf(k, j * G + g), t);
        const seen = visible(t, seeing);
        const values = Float64Array.from(seen.flatMap((j) => [...stored(rowOf(v, j * G + g))]));
        for (let h = g * (H / G); h < (g + 1) * (H / G); h++) {
          const query = turn(shape, rowOf(q, t * H + h), place);
          const score = (key: number) => dot(query, keys[key]!) * scale;
          attended.set(attend(score, values, seen.length, E), (t * H + h) * E);
        }
      }
    }
    x = sum(x, linear(attended, name("attn_output"), D, H * E));
    const inner = rmsNorm(x, weight(name("ffn_norm")), T, epsilon);
    const gate = linear(inner, name("ffn_gate"), F, D);
    const up = linear(inner, name("ffn_up"), F, D);
    x = sum(x, linear(gatedActivation(gate, up, "silu"), name("ffn_down"), D, F));
    states.push(x);
  }
  states[shape.layers] = rmsNorm(x, weight("output_norm"), T, epsilon);
  return states;
}

/** The positions that a query sees, ascending. */
function visible(query: number, { sinks, window }: Visibility): number[] {
  const seen: number[] = [];
  for (let key = 0; key <= query; key++) if (key < sinks || key > query - window) seen.push(key);
  return seen;
}

/** A head, rotated to a place. */
function turn(shape: TinyShape, head: Float64Array, place: number): Float64Array {
  const { headWidth: E, ropeFreqs, linear = 1 } = shape;
  const angles = Float64Array.from({ length: E / 2 }, (_, i) => {
    const divisor = ropeFreqs ? Math.fround(ropeFreqs[i]!) : 1;
    return ((place / linear) * ROPE_BASE ** ((-2 * i) / E)) / divisor;
  });
  return rope(head, angles, shape.architecture === "llama" ? 1 : E / 2);
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((total, value, i) => total + value * b[i]!, 0);
}

function sum(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value + b[i]!);
}

/** Sum of squared differences over the sum of squares. */
export function nmse(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let squares = 0;
  let differences = 0;
  for (let i = 0; i < expected.length; i++) {
    squares += expected[i]! ** 2;
    differences += (actual[i]! - expected[i]!) ** 2;
  }
  return differences / squares;
}
