// One run of the attention kernel over pages that a test lays out itself, and its oracle in f64.

import {
  type AttentionPolicy,
  FULL_ATTENTION,
  isVisible,
} from "../../src/context/positions/attention-policy.ts";
import { attentionTokens, longAttention } from "../../src/kernels/adapter/tiling.ts";
import { attend, attentionWeights } from "../../src/kernels/attention/attention.ts";
import { type HeadShape, partialSize } from "../../src/kernels/attention/head-shape.ts";
import { packKv, throughKv } from "../../src/kernels/attention/kv-types.ts";
import { ITEM_WORDS, MERGE_WORDS, planWork } from "../../src/kernels/attention/work.ts";
import * as reference from "../../src/kernels/reference.ts";
import { randomFloats } from "../../src/laboratory/kernels/random.ts";
import type { TestGpu } from "./gpu.ts";
import { HALF_ULP } from "./numbers.ts";

export interface AttentionCase {
  readonly shape: HeadShape;
  /** Keys and values of the whole text, [length, G, E]: those of pages that are not held are never uploaded. */
  readonly keys: Float32Array;
  readonly values: Float32Array;
  /** [T, 2, H, E]: what meets the window and what meets the sinks; unrelated, so that a mix-up shows. */
  readonly queries: Float32Array;
  /** Position of the first query; the last query is the last token of the text. */
  readonly start: number;
  readonly tokens: number;
  readonly policy: AttentionPolicy;
}

export interface Layout {
  /** Logical pages held, ascending. Default: all of the text. */
  readonly held?: readonly number[];
  /** The physical page of each. Default: 1, 2, 3, ... */
  readonly physical?: readonly number[];
  /** Ranges that the positions of the text are split into, about. */
  readonly splits?: number;
}

export function shapeOf(shape: Partial<HeadShape>): HeadShape {
  const { headWidth = 16, ...rest } = shape;
  return {
    heads: 4,
    kvHeads: 2,
    headWidth,
    pageSize: 16,
    kvType: "f32",
    pairGap: 1,
    scale: 1 / Math.sqrt(headWidth),
    ...rest,
  };
}

/** A case with random numbers: the last `tokens` tokens of a text of `length` tokens ask. */
export function attentionCase(
  seed: number,
  shape: HeadShape,
  length: number,
  tokens: number,
  policy: AttentionPolicy = FULL_ATTENTION,
): AttentionCase {
  const { heads: H, kvHeads: G, headWidth: E } = shape;
  // Cells are tested here for reading: the numbers are those that are left when they have been stored.
  const stored = (numbers: Float32Array) => throughKv(shape.kvType, numbers);
  return {
    shape,
    keys: stored(randomFloats(seed, length * G * E)),
    values: stored(randomFloats(seed + 1, length * G * E)),
    queries: randomFloats(seed + 2, tokens * 2 * H * E, 4 / Math.sqrt(E)),
    start: length - tokens,
    tokens,
    policy,
  };
}

/** The score of a key before one head of a query, and the sum of the magnitudes that it is made of. */
function scoreOf(c: AttentionCase, t: number, head: number, key: number): [number, number] {
  const { heads: H, kvHeads: G, headWidth: E } = c.shape;
  const side = key < c.policy.sinks ? 1 : 0;
  const q = ((t * 2 + side) * H + head) * E;
  const k = (key * G + Math.floor(head / (H / G))) * E;
  let [score, magnitude] = [0, 0];
  for (let i = 0; i < E; i++) {
    score += c.queries[q + i]! * c.keys[k + i]!;
    magnitude += Math.abs(c.queries[q + i]! * c.keys[k + i]!);
  }
  const { scoreCap } = c.shape;
  return [scoreCap ? reference.softcap(score, scoreCap) : score, magnitude];
}

/** x [T, H, E] by the rule of attention-policy.ts and reference.ts, and how far f32 may be from it. */
export function oracle(c: AttentionCase): { expected: Float64Array; abs: number } {
  const { heads: H, kvHeads: G, headWidth: E } = c.shape;
  const length = c.start + c.tokens;
  const expected = new Float64Array(c.tokens * H * E);
  let magnitude = 0;
  for (let head = 0; head < H; head++) {
    const group = Math.floor(head / (H / G));
    const values = new Float32Array(length * E);
    for (let key = 0; key < length; key++) {
      const from = (key * G + group) * E;
      values.set(c.values.subarray(from, from + E), key * E);
    }
    for (let t = 0; t < c.tokens; t++) {
      const score = (key: number) => {
        if (!isVisible(c.policy, key, c.start + t)) return Number.NEGATIVE_INFINITY;
        const [sum, size] = scoreOf(c, t, head, key);
        magnitude = Math.max(magnitude, size);
        return sum;
      };
      expected.set(reference.attend(score, values, length, E), (t * H + head) * E);
    }
  }
  // A score is off by at most (E + 1) roundings of its magnitudes; exp by 3 + 2|x| ulps (WGSL), |x| up to twice the
  // largest score; a weight by the sum of both, twice, since its divisor is off as well; sums over n add n roundings.
  // Values are below 1.
  const weight = (E + 1) * magnitude + 2 * (3 + 4 * magnitude);
  return { expected, abs: HALF_ULP * (2 * weight + length) };
}

/** weights [T, H, slots] by the rule, over the slots of a layout. */
export function oracleWeights(c: AttentionCase, layout: Layout = {}): Float64Array {
  const { heads: H } = c.shape;
  const positions = slotsOf(c, layout);
  const weights = new Float64Array(c.tokens * H * positions.length);
  for (let row = 0; row < c.tokens * H; row++) {
    const [t, head] = [Math.floor(row / H), row % H];
    const scores = positions.map((key) =>
      isVisible(c.policy, key, c.start + t)
        ? scoreOf(c, t, head, key)[0]
        : Number.NEGATIVE_INFINITY,
    );
    const largest = Math.max(...scores);
    const total = scores.reduce((sum, score) => sum + Math.exp(score - largest), 0);
    weights.set(
      scores.map((score) => Math.exp(score - largest) / total),
      row * positions.length,
    );
  }
  return weights;
}

/** The text position of every slot of the table. */
function slotsOf(c: AttentionCase, layout: Layout): number[] {
  const P = c.shape.pageSize;
  return heldPages(c, layout).flatMap((page) => Array.from({ length: P }, (_, i) => page * P + i));
}

function heldPages({ shape, start, tokens }: AttentionCase, { held }: Layout): readonly number[] {
  return held ?? Array.from({ length: Math.ceil((start + tokens) / shape.pageSize) }, (_, i) => i);
}

/** The pages of a case on the GPU. Every slot that holds no token of the text is NaN, and so are pages beside it. */
async function upload(gpu: TestGpu, c: AttentionCase, layout: Layout) {
  const { kvHeads: G, headWidth: E, pageSize: P } = c.shape;
  const length = c.start + c.tokens;
  const held = heldPages(c, layout);
  const physical = layout.physical ?? held.map((_, i) => i + 1);
  const pages = Math.max(...physical) + 2;
  const fill = (rows: Float32Array) => {
    const data = new Float32Array(pages * G * P * E).fill(Number.NaN);
    held.forEach((page, i) => {
      for (let place = 0; place < P && page * P + place < length; place++) {
        for (let g = 0; g < G; g++) {
          const from = ((page * P + place) * G + g) * E;
          data.set(rows.subarray(from, from + E), ((physical[i]! * G + g) * P + place) * E);
        }
      }
    });
    return packKv(c.shape.kvType, data);
  };
  const { sinks, window } = c.policy;
  const rows = c.tokens * (length + 1);
  const work = planWork(
    [
      {
        tokens: c.tokens,
        start: c.start,
        entries: held.map((page, i) => ({ page: physical[i]!, first: page * P })),
        sinks,
        window: Math.min(window, 0xffffffff),
      },
    ],
    {
      pageSize: P,
      tokens: {
        short: attentionTokens(c.shape.heads / c.shape.kvHeads),
        long: longAttention(gpu.adapter, c.shape).tokens,
      },
      range: () => Math.ceil(length / (layout.splits ?? 1)),
      rows,
    },
  );
  return {
    slots: held.length * P,
    keys: await gpu.buffer(fill(c.keys)),
    values: await gpu.buffer(fill(c.values)),
    queries: await gpu.buffer(c.queries),
    // The tables may be longer than what a step uses: what lies beyond points at pages of NaN.
    table: await gpu.buffer(Uint32Array.from([...work.tables, 0, 0])),
    work,
    rows,
  };
}

/** weights [T, H, slots] by the kernel. */
export async function weightsOnGpu(
  gpu: TestGpu,
  c: AttentionCase,
  layout: Layout = {},
): Promise<Float32Array> {
  const { keys, values, queries, table, slots, work } = await upload(gpu, c, layout);
  const weights = await gpu.buffer(new Float32Array(c.tokens * c.shape.heads * slots).fill(NaN));
  const item = await gpu.buffer(work.pieces);
  const dispatches = attentionWeights(gpu.several, {
    label: "weights",
    shape: c.shape,
    queries,
    keys,
    pageTable: table,
    work: item,
    tokens: c.tokens,
    weights,
  });
  await gpu.run(dispatches, { tokens: c.tokens });
  const result = await gpu.readFloats(weights);
  gpu.release(keys, values, queries, table, item, weights);
  return result;
}

/** x [T, H, E] by the kernels. */
export async function attendOnGpu(
  gpu: TestGpu,
  c: AttentionCase,
  layout: Layout = {},
): Promise<Float32Array> {
  const { heads: H, headWidth: E } = c.shape;
  const { keys, values, queries, table, work, rows } = await upload(gpu, c, layout);
  // The partial results of an earlier step must not show through either.
  const partial = await gpu.buffer(new Float32Array(partialSize(c.shape, rows)).fill(Number.NaN));
  const lists = {
    short: await list(gpu, work.short, ITEM_WORDS),
    long: await list(gpu, work.long, ITEM_WORDS),
    merges: await list(gpu, work.merges, MERGE_WORDS),
  };
  const x = await gpu.activations(c.tokens, H * E);
  const dispatches = attend(gpu.several, {
    label: "attention",
    shape: c.shape,
    queries,
    buffers: { pages: { keys, values }, pageTable: table, work: lists, partial, x },
  });
  await gpu.run(dispatches, {
    tokens: c.tokens,
    short_items: work.short.length / ITEM_WORDS,
    short_tokens: work.shortTokens,
    long_items: work.long.length / ITEM_WORDS,
    merges: work.merges.length / MERGE_WORDS,
  });
  const result = await gpu.readActivations(x);
  gpu.release(keys, values, queries, table, partial, ...Object.values(lists), x);
  return result;
}

/** A list, and one more entry: no buffer is empty. */
async function list(gpu: TestGpu, words: Uint32Array, length: number): Promise<GPUBuffer> {
  return gpu.buffer(Uint32Array.from([...words, ...new Uint32Array(length)]));
}
