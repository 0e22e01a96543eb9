// The way of a key through the cache: rotated and stored at its text position, met by queries that are rotated twice,
// forgotten with its page. rope-store, attention and KvCache together, against f64 over the whole text.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KvCache } from "../../src/context/cache/kv-cache.ts";
import { PagePool } from "../../src/context/cache/page-pool.ts";
import { PageTable } from "../../src/context/cache/page-table.ts";
import {
  type AttentionPolicy,
  attentionPolicy,
  FULL_ATTENTION,
  pagesNeeded,
} from "../../src/context/positions/attention-policy.ts";
import {
  fixedRope,
  type RopeFrequencies,
  ropeFrequencies,
  writeRotation,
} from "../../src/context/positions/rope-scaling.ts";
import type { Target } from "../../src/kernels/adapter/target.ts";
import { longAttention } from "../../src/kernels/adapter/tiling.ts";
import { storeAndAttend } from "../../src/kernels/attention/attention.ts";
import {
  type HeadShape,
  partialRows,
  partialSize,
  rotatedSize,
} from "../../src/kernels/attention/head-shape.ts";
import { KV_TYPES, type KvType, unpackKv } from "../../src/kernels/attention/kv-types.ts";
import { rope } from "../../src/kernels/reference.ts";
import { randomFloats } from "../../src/laboratory/kernels/random.ts";
import { shapeOf } from "../support/attention.ts";
import { type TestGpu, useGpu } from "../support/gpu.ts";
import { expectClose, HALF_ULP } from "../support/numbers.ts";
import { besideOneAnother, rotateAndStore } from "../support/rope-store.ts";
import { streamingAttention, turn } from "../support/rotation.ts";

const gpu = await useGpu();
/** Of 32 lanes, of which heads of 64 numbers leave half without a cell. */
const card = await useGpu({ card: true });

const plain = (width: number): RopeFrequencies =>
  ropeFrequencies({ width, base: 1e4, originalContext: 2048 }, { kind: "none" });

/** Few shapes: each costs its own pipelines. */
const NEIGHBOURS = shapeOf({ headWidth: 16, pageSize: 4, pairGap: 1 });
const HALVES = shapeOf({ headWidth: 16, pageSize: 4, pairGap: 8, kvType: "f16" });

/**
 * How far each number may be from what is stored of it, heads being one block. A half keeps 11 bits: half a unit of the
 * last is 2^-11 of the number, or 2^-25 below 2^-14. WGSL lets an adapter take either neighbour, so twice that, also for
 * a scale. Of the largest of a block, a quantum is 1 / 127 or an eighth; q4_0 has eight of them on one side of zero and
 * seven on the other.
 */
function storing(kvType: KvType, numbers: Float64Array, E: number): Float64Array {
  const half = 2 ** -10;
  return numbers.map((x, i) => {
    if (kvType === "f32") return 0;
    if (kvType === "f16") return Math.abs(x) * half + 2 ** -24;
    const head = numbers.subarray(i - (i % E), i - (i % E) + E);
    const largest = Math.max(...head.map(Math.abs));
    return largest * (half + (kvType === "q8_0" ? 1 / 127 / 2 : 1 / 8));
  });
}

describe.each([
  ["neighbours", 1],
  ["halves", 16],
])("rotation of %s", (_, pairGap) => {
  const shape = shapeOf({ heads: 3, kvHeads: 3, headWidth: 32, pageSize: 4, pairGap });
  const { heads: H, headWidth: E, pageSize: P, scale } = shape;
  const frequencies = ropeFrequencies(
    { width: E, base: 1e4, originalContext: 64 },
    { kind: "yarn", factor: 4 },
  );
  const positions = [0, 7, 1_000_003];
  const T = positions.length;
  const elsewhere = [0, 3, 12];
  const rotations = new Float32Array(3 * T * E);
  positions.forEach((position, t) => {
    writeRotation(frequencies, position, rotations, t * E);
    writeRotation(frequencies, elsewhere[t]!, rotations, (T + t) * E);
    writeRotation(frequencies, position, rotations, (2 * T + t) * E);
  });
  // A turn is rounded to f32, then two products and a sum: 4 roundings of numbers up to 2 * 1.14.
  const abs = 4 * 2.3 * HALF_ULP;

  test("queries: scaled, before the window and before the sinks", async () => {
    const values = randomFloats(1, T * H * E);
    const { rotated } = await rotateAndStore(gpu, shape, T, rotations, { q: values });
    const expected = positions.flatMap((position, t) =>
      [position, elsewhere[t]!].flatMap((at) =>
        [0, 1, 2].flatMap((head) => {
          const row = values.subarray((t * H + head) * E, (t * H + head + 1) * E);
          return [...turn(row, frequencies, at, pairGap)].map((x) => x * scale);
        }),
      ),
    );
    expectClose(rotated, expected, { abs });
  });

  test.each(KV_TYPES)("keys and values go to their slots, as %s", async (kvType) => {
    const [kRows, vRows] = [randomFloats(2, T * H * E), randomFloats(3, T * H * E)];
    const slots = [9, 2, 4]; // pages 2, 0, 1
    const pages = 3;
    const given = { k: kRows, v: vRows, slots, pages };
    const { keys, values } = await rotateAndStore(gpu, { ...shape, kvType }, T, rotations, given);
    const expectedKeys = new Float64Array(pages * H * P * E).fill(7);
    const expectedValues = expectedKeys.slice();
    slots.forEach((slot, t) => {
      for (let head = 0; head < H; head++) {
        const from = (t * H + head) * E;
        const at = ((Math.floor(slot / P) * H + head) * P + (slot % P)) * E;
        expectedKeys.set(
          turn(kRows.subarray(from, from + E), frequencies, positions[t]!, pairGap),
          at,
        );
        expectedValues.set(vRows.subarray(from, from + E), at);
      }
    });
    for (const [words, numbers, off, what] of [
      [keys, expectedKeys, abs, "keys"],
      [values, expectedValues, 0, "values"],
    ] as const) {
      const tolerance = storing(kvType, numbers, E).map((rounding) => rounding + off);
      expectClose(unpackKv(kvType, words), numbers, { abs: tolerance }, what);
    }
  });
});

test("neighbours on permuted numbers equal halves, to a rounding", async () => {
  const [E, T, H] = [16, 2, 3];
  const rotations = new Float32Array(3 * T * E);
  for (let t = 0; t < 3 * T; t++) writeRotation(plain(E), 5 * t + 1, rotations, t * E);
  const values = randomFloats(5, T * H * E);
  const permute = (x: Float32Array) =>
    x.map((_, i) => x[i - (i % E) + ((i % E) >> 1) + (i & 1) * (E / 2)]!);
  const results: Float32Array[] = [];
  for (const [pairGap, q] of [
    [E / 2, values],
    [1, permute(values)],
  ] as const) {
    const shape = shapeOf({ heads: H, kvHeads: H, headWidth: E, pageSize: 4, pairGap });
    results.push((await rotateAndStore(gpu, shape, T, rotations, { q })).rotated);
  }
  // The same products and sums in two pipelines, of which either may fuse them.
  expectClose(results[1]!, permute(results[0]!), { abs: 2 * HALF_ULP });
});

/**
 * What a text's queries see, taken through a cache chunk by chunk: [T, H, E] of all its tokens; and what the cache holds in
 * the end. `single` takes single tokens as a plan for them does, or as one for several; keys are split into ranges of
 * `range` positions, or as suits the adapter.
 */
async function stream(
  shape: HeadShape,
  policy: AttentionPolicy,
  frequencies: RopeFrequencies,
  text: { q: Float32Array; k: Float32Array; v: Float32Array },
  chunks: readonly number[],
  {
    on = gpu,
    single = on.one,
    range,
  }: { on?: TestGpu; single?: Target; range?: number | undefined } = {},
): Promise<{ outputs: Float32Array; pages: number; cells: Uint32Array[] }> {
  const { heads: H, kvHeads: G, headWidth: E } = shape;
  const length = chunks.reduce((a, b) => a + b, 0);
  const chunk = Math.max(...chunks);
  const before = on.device.memory.buffers;
  const cache = await KvCache.create(on.device, {
    adapter: on.adapter,
    layers: [0],
    shape,
    rope: fixedRope(frequencies),
    chunk,
    pages: pagesNeeded(policy, length, chunk, shape.pageSize),
    range: range ? () => range : undefined,
  });
  const layer = cache.layers.get(0)!;
  for (const buffer of [layer.keys, layer.values]) {
    // NaN, whatever the kv type: what is read before it is written, shows.
    on.device.queue.writeBuffer(buffer, 0, new Uint32Array(buffer.size / 4).fill(0xffffffff));
  }
  const pool = new PagePool(cache.pages);
  const table = new PageTable(pool, policy, shape.pageSize);
  const partial = await on.buffer(new Float32Array(partialSize(shape, partialRows(shape))));
  const rotated = await on.buffer(new Float32Array(rotatedSize(shape, chunk)));
  const outputs = new Float32Array(length * H * E);
  for (const count of chunks) {
    const start = table.length;
    const rows = (x: Float32Array, heads: number) =>
      x.subarray(start * heads * E, (start + count) * heads * E);
    const of = { q: rows(text.q, H), k: rows(text.k, G), v: rows(text.v, G) };
    const qkv = await on.activations(count, (H + 2 * G) * E, besideOneAnother(shape, count, of));
    const x = await on.activations(count, H * E);
    const step = cache.prepare([{ table, ...table.append(count) }]);
    const target = count === 1 ? single : on.several;
    const { rotations, slots, pageTable, work } = cache;
    const tokens = { qk: qkv, qkv, rotations, slots, rotated };
    await on.run(
      storeAndAttend(target, {
        label: "attention",
        shape,
        tokens,
        buffers: { pages: layer, pageTable, work, partial, x },
      }),
      step,
    );
    outputs.set(await on.readActivations(x), start * H * E);
    on.release(qkv, x);
  }
  const cells: Uint32Array[] = [];
  for (const buffer of [layer.keys, layer.values]) {
    cells.push(new Uint32Array(await on.device.read(buffer)));
  }
  const { pages } = cache;
  table.clear();
  expect(pool.free).toBe(pages);
  const { rotations, slots, pageTable, work, copied } = cache;
  on.release(partial, rotated, rotations, slots, pageTable, copied, ...Object.values(work));
  on.release(layer.keys, layer.values);
  expect(on.device.memory.buffers).toBe(before);
  return { outputs, pages, cells };
}

const textOf = (seed: number, shape: HeadShape, length: number) => ({
  q: randomFloats(seed, length * shape.heads * shape.headWidth, 2),
  k: randomFloats(seed + 1, length * shape.kvHeads * shape.headWidth, 2),
  v: randomFloats(seed + 2, length * shape.kvHeads * shape.headWidth),
});

function expected(
  shape: HeadShape,
  policy: AttentionPolicy,
  frequencies: RopeFrequencies,
  text: ReturnType<typeof textOf>,
  length: number,
): number[] {
  return Array.from({ length }, (_, t) => [
    ...streamingAttention(shape, policy, frequencies, text, t),
  ]).flat();
}

// Scores are sums of 16 products of at most 4, scaled by 1/4: magnitudes of 16 at the most, a few roundings each, and exp
// and its divisor carry that over to weights of values below 1. Halves: keys up to 2 are off by 2^-10, a score by less
// than 2^-10 * 16, were all to point one way.
const toleranceOf = (shape: HeadShape) =>
  shape.kvType === "f32" ? { abs: 40 * 16 * HALF_ULP } : { abs: 2 ** -10 * 8 };

describe.each([
  ["f32 cells, neighbours", NEIGHBOURS],
  ["f16 cells, halves", HALVES],
])("a stream through %s", (_, shape) => {
  test("equals f64 for any sinks, window and chunks, in as many pages as promised", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(1000),
        fc.oneof(
          fc.constant(FULL_ATTENTION),
          fc
            .record({ sinks: fc.nat(9), window: fc.integer({ min: 1, max: 20 }) })
            .map(({ sinks, window }) => attentionPolicy({ kind: "sinks", sinks, window })),
        ),
        fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 13 })), {
          minLength: 1,
          maxLength: 10,
          size: "max",
        }),
        async (seed, policy, chunks) => {
          const length = chunks.reduce((a, b) => a + b, 0);
          const text = textOf(seed, shape, length);
          const frequencies = plain(shape.headWidth);
          const { outputs } = await stream(shape, policy, frequencies, text, chunks);
          const oracle = expected(shape, policy, frequencies, text, length);
          expectClose(outputs, oracle, toleranceOf(shape), policy.name);
        },
      ),
      { numRuns: 25, seed: 3 },
    );
  });
});

test("many slots a token: decoding splits its work and agrees", async () => {
  // 704 keys are six ranges of 128 positions, the last half full.
  const text = textOf(9, NEIGHBOURS, 704);
  const frequencies = plain(16);
  const { outputs } = await stream(NEIGHBOURS, FULL_ATTENTION, frequencies, text, [703, 1]);
  for (const t of [0, 350, 702, 703]) {
    const one = streamingAttention(NEIGHBOURS, FULL_ATTENTION, frequencies, text, t);
    expectClose(outputs.subarray(t * 64, (t + 1) * 64), one, toleranceOf(NEIGHBOURS), `token ${t}`);
  }
});

describe("a single token is turned and stored where it attends, with the bits of two dispatches", () => {
  test.each<[number, number, number, number, number, KvType]>([
    [4, 1, 64, 16, 1, "f16"],
    [3, 3, 128, 1, 64, "f32"],
    [8, 4, 80, 4, 40, "f16"],
    [2, 2, 256, 5, 1, "f16"],
    [6, 2, 8, 4, 4, "f32"],
  ])("%d heads that share %d of %d numbers, pages of %d, pairs %d apart, %s", async (...given) => {
    const [heads, kvHeads, headWidth, pageSize, pairGap, kvType] = given;
    const shape = shapeOf({ heads, kvHeads, headWidth, pageSize, pairGap, kvType });
    const chunks = [5, ...Array<number>(20).fill(1), 3, 1, 1];
    const text = textOf(31, shape, 30);
    const policies = [
      FULL_ATTENTION,
      attentionPolicy({ kind: "window", window: 5 }),
      attentionPolicy({ kind: "sinks", sinks: 7, window: 6 }),
    ];
    for (const policy of policies) {
      for (const [on, range] of [
        [gpu, undefined],
        [gpu, 16],
        [gpu, 4],
        [card, undefined],
        [card, 16],
      ] as const) {
        const how = [shape, policy, plain(headWidth), text, chunks] as const;
        const one = await stream(...how, { on, range });
        const two = await stream(...how, { on, range, single: on.several });
        expect(one.outputs, `${policy.name}, ranges of ${range}`).toEqual(two.outputs);
        expect(one.outputs.every((x) => x !== 0 && !Number.isNaN(x))).toBe(true);
        expect(one.cells).toEqual(two.cells);
      }
    }
  });

  test("unless it cannot be", async () => {
    const buffer = await gpu.buffer(new Uint32Array(4096));
    const pages = { keys: buffer, values: buffer };
    const work = { short: buffer, long: buffer, merges: buffer };
    const pagesOf = async (shape: HeadShape, { raw = false, normed = false, several = false }) => {
      const { heads: H, kvHeads: G, headWidth: E } = shape;
      const qkv = await gpu.activations(1, (H + 2 * G) * E);
      const qk = normed ? await gpu.activations(1, (H + 2 * G) * E) : qkv;
      const x = await gpu.activations(1, H * E);
      const tokens = { qk, qkv, rotations: buffer, slots: buffer, rotated: buffer };
      const keyRotations = raw ? buffer : undefined;
      const buffers = { pages, pageTable: buffer, keyRotations, work, partial: buffer, x };
      const target = several ? gpu.several : gpu.one;
      const dispatches = storeAndAttend(target, { label: "both", shape, tokens, buffers });
      return dispatches.map(({ kernel }) => kernel.name.split(".")[0]);
    };
    const wide = { headWidth: 32 };
    const together = ["attention", "attention-merge"];
    expect(await pagesOf(shapeOf(wide), {})).toEqual(together);
    expect(await pagesOf(shapeOf({ ...wide, kvType: "f16", heads: 8 }), {})).toEqual(together);
    const apart = ["rope-store", ...together];
    const long = longAttention(gpu.adapter, shapeOf(wide)).shader.replace(/^.*\//, "");
    const severally = ["rope-store", "attention", long, "attention-merge"];
    expect(await pagesOf(shapeOf({ ...wide, kvType: "q8_0" }), {})).toEqual(apart);
    expect(await pagesOf(shapeOf({ ...wide, heads: 10 }), {})).toEqual(apart);
    expect(await pagesOf(shapeOf(wide), { raw: true })).toEqual(apart);
    expect(await pagesOf(shapeOf(wide), { normed: true })).toEqual(apart);
    expect(await pagesOf(shapeOf(wide), { several: true })).toEqual(severally);
  });
});

test("a window without end of a policy with sinks is full attention, bit by bit", async () => {
  const text = textOf(12, NEIGHBOURS, 30);
  const chunks = [12, 1, 1, 16];
  const roomy = attentionPolicy({ kind: "sinks", sinks: 5, window: 30 });
  const full = await stream(NEIGHBOURS, FULL_ATTENTION, plain(16), text, chunks);
  const wide = await stream(NEIGHBOURS, roomy, plain(16), text, chunks);
  expect(wide.outputs).toEqual(full.outputs);
  expect(wide.outputs.every((x) => x !== 0)).toBe(true);
});

describe("the golden mini-case of algorithms 4.6", () => {
  const policy = attentionPolicy({ kind: "sinks", sinks: 1, window: 3 });
  const wave = (a: number, width: number, factor: number) =>
    Float64Array.from({ length: 7 * width }, (_, i) => {
      return factor * Math.sin(a * (Math.floor(i / width) + 1) + (i % width));
    });
  const textOfWaves = (width: number) => ({
    q: wave(1, width, 2),
    k: wave(0.7, width, 2),
    v: wave(0.3, width, 1),
  });
  const shape = (headWidth: number) =>
    shapeOf({ heads: 1, kvHeads: 1, headWidth, pageSize: 2, scale: 0.5 });
  const GOLDEN: Record<number, readonly number[]> = {
    3: [0.48863692, 0.94484512, 0.53236707, -0.36956681],
    4: [0.61806458, 0.8126939, 0.2601362, -0.53158952],
    5: [0.80192597, 0.58651622, -0.16813384, -0.76820242],
    6: [0.88052248, 0.58209582, -0.25150706, -0.8538755],
  };

  test("by f64: the oracle of this file itself", () => {
    for (const [t, output] of Object.entries(GOLDEN)) {
      const found = streamingAttention(shape(4), policy, plain(4), textOfWaves(4), Number(t));
      expectClose(found, output, { abs: 6e-9 }, `t = ${t}`); // eight decimals are given
    }
    const window = attentionPolicy({ kind: "window", window: 4 });
    const found = streamingAttention(shape(4), window, plain(4), textOfWaves(4), 4);
    expectClose(found, [0.86688086, 0.73930994, -0.06797913, -0.8127685], { abs: 6e-9 });
  });

  test.each([4, 8])("on the GPU, token by token and in one chunk, heads of %d", async (width) => {
    const { q, k, v } = textOfWaves(width);
    const text = { q: Float32Array.from(q), k: Float32Array.from(k), v: Float32Array.from(v) };
    const oracle = expected(shape(width), policy, plain(width), text, 7);
    for (const chunks of [[1, 1, 1, 1, 1, 1, 1], [7], [2, 3, 2]]) {
      const { outputs } = await stream(shape(width), policy, plain(width), text, chunks);
      // Products of at most 4, eight a score: magnitudes below 16, a few roundings each.
      expectClose(outputs, oracle, { abs: 20 * 16 * HALF_ULP }, `chunks ${chunks}`);
      if (width !== 4) continue;
      for (const [t, output] of Object.entries(GOLDEN)) {
        const at = Number(t) * width;
        expectClose(
          outputs.subarray(at, at + width),
          output,
          { abs: 20 * 16 * HALF_ULP },
          `t = ${t}`,
        );
      }
    }
  });

  test("a reference that rotates its queries wrongly would not pass", () => {
    // One rotation for both sides is the plain text position: what StreamingLLM's re-assigned positions are not.
    const naive = rope(
      Float64Array.from([1, 2, 3, 4]),
      plain(4).theta.map((x) => 6 * x),
      1,
    );
    expect(naive).not.toEqual(turn(Float64Array.from([1, 2, 3, 4]), plain(4), 3, 1));
  });
});
