// Several texts in one step: each is, to the bit, what it is alone, whatever the page size, its cut
// and its company.

import fc from "fast-check";
import { expect, test } from "vitest";
import { KvCache } from "../../src/context/cache/kv-cache.ts";
import { PagePool } from "../../src/context/cache/page-pool.ts";
import { PageTable } from "../../src/context/cache/page-table.ts";
import { KEY_STORAGES, type KeyStorage } from "../../src/context/cache/rotations.ts";
import {
  type AttentionPolicy,
  attentionPolicy,
  FULL_ATTENTION,
} from "../../src/context/positions/attention-policy.ts";
import {
  createRope,
  fixedRope,
  type Rope,
  ropeFrequencies,
} from "../../src/context/positions/rope-scaling.ts";
import { storeAndAttend } from "../../src/kernels/attention/attention.ts";
import {
  type HeadShape,
  partialRows,
  partialSize,
  rotatedSize,
} from "../../src/kernels/attention/head-shape.ts";
import type { KvType } from "../../src/kernels/attention/kv-types.ts";
import { SHORT_PIECE } from "../../src/kernels/attention/work.ts";
import { randomFloats } from "../../src/laboratory/kernels/random.ts";
import { shapeOf } from "../support/attention.ts";
import { type TestGpu, useGpu } from "../support/gpu.ts";
import { expectClose } from "../support/numbers.ts";
import { besideOneAnother } from "../support/rope-store.ts";

const gpu = await useGpu();

interface Text {
  readonly policy: AttentionPolicy;
  readonly length: number;
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/** How a cache is made; tokens of one take `gpu.one` if they are alone. */
interface How {
  readonly shape: HeadShape;
  readonly rope?: Rope;
  readonly keys?: KeyStorage;
  readonly on?: TestGpu;
}

const plain = (width: number): Rope =>
  fixedRope(ropeFrequencies({ width, base: 1e4, originalContext: 2048 }, { kind: "none" }));

function textOf(
  { heads: H, kvHeads: G, headWidth: E }: HeadShape,
  seed: number,
  length: number,
  policy = FULL_ATTENTION,
): Text {
  return {
    policy,
    length,
    q: randomFloats(seed, length * H * E, 2),
    k: randomFloats(seed + 1, length * G * E, 2),
    v: randomFloats(seed + 2, length * G * E),
  };
}

/** More ranges than an adapter would have, so that short texts have several. */
const range = (keys: number) => (keys > 24 ? 16 : 8);

/** x [length, H, E] of texts, taken through one cache in steps of (text, tokens) pieces. */
async function attendTo(
  { shape, rope = plain(shape.headWidth), keys = "rotated", on = gpu }: How,
  texts: readonly Text[],
  steps: readonly (readonly (readonly [text: number, tokens: number])[])[],
): Promise<Float32Array[]> {
  const { heads: H, kvHeads: G, headWidth: E, pageSize: P } = shape;
  const chunk = Math.max(
    ...steps.map((pieces) => pieces.reduce((sum, [, count]) => sum + count, 0)),
  );
  const pages = texts.reduce((sum, { length }) => sum + Math.ceil(length / P), 0);
  const before = on.device.memory.buffers;
  const cache = await KvCache.create(on.device, {
    adapter: on.adapter,
    layers: [0],
    shape,
    rope,
    keys,
    chunk,
    pages,
    range,
  });
  const layer = cache.layers.get(0)!;
  for (const buffer of [layer.keys, layer.values]) {
    on.device.queue.writeBuffer(buffer, 0, new Uint32Array(buffer.size / 4).fill(0xffffffff)); // NaN
  }
  const pool = new PagePool(pages);
  const tables = texts.map(({ policy }) => new PageTable(pool, policy, P));
  const partial = await on.buffer(
    new Float32Array(partialSize(shape, partialRows(shape))).fill(Number.NaN),
  );
  const rotated = await on.buffer(new Float32Array(rotatedSize(shape, chunk)));
  const outputs = texts.map(({ length }) => new Float32Array(length * H * E));
  for (const pieces of steps) {
    const rows = pieces.flatMap(([text, count]) => {
      const { q, k, v } = texts[text]!;
      const start = tables[text]!.length;
      const of = (x: Float32Array, heads: number) =>
        x.subarray(start * heads * E, (start + count) * heads * E);
      return besideOneAnother(shape, count, { q: of(q, H), k: of(k, G), v: of(v, G) });
    });
    const T = pieces.reduce((sum, [, count]) => sum + count, 0);
    const qkv = await on.activations(T, (H + 2 * G) * E, rows);
    const x = await on.activations(T, H * E);
    const starts = pieces.map(([text]) => tables[text]!.length);
    const step = cache.prepare(
      pieces.map(([text, count]) => ({ table: tables[text]!, ...tables[text]!.append(count) })),
    );
    const { rotations, slots, pageTable, keyRotations, work } = cache;
    const tokens = { qk: qkv, qkv, rotations, slots, rotated };
    const buffers = { pages: layer, pageTable, keyRotations, work, partial, x };
    const target = T === 1 ? on.one : on.several;
    await on.run(storeAndAttend(target, { label: "attention", shape, tokens, buffers }), step);
    const all = await on.readActivations(x);
    let row = 0;
    pieces.forEach(([text, count], i) => {
      outputs[text]!.set(all.subarray(row * H * E, (row + count) * H * E), starts[i]! * H * E);
      row += count;
    });
    on.release(qkv, x);
  }
  const { rotations, slots, pageTable, keyRotations, work, copied } = cache;
  on.release(
    partial,
    rotated,
    rotations,
    slots,
    pageTable,
    copied,
    ...Object.values(work),
    layer.keys,
    layer.values,
  );
  if (keyRotations) on.release(keyRotations);
  expect(on.device.memory.buffers).toBe(before);
  return outputs;
}

/** Cuts of texts, taken in turns: in each step a piece of each text that is not at its end. */
function inTurns(cuts: readonly (readonly number[])[]): [number, number][][] {
  const steps = Math.max(...cuts.map((cut) => cut.length));
  return Array.from({ length: steps }, (_, s) =>
    cuts.flatMap((cut, text): [number, number][] => (s < cut.length ? [[text, cut[s]!]] : [])),
  );
}

const alone = (how: How, text: Text) =>
  attendTo(
    how,
    [text],
    Array.from({ length: text.length }, () => [[0, 1]] as const),
  );

const POLICIES = [
  FULL_ATTENTION,
  attentionPolicy({ kind: "window", window: 11 }),
  attentionPolicy({ kind: "sinks", sinks: 3, window: 9 }),
  attentionPolicy({ kind: "sinks", sinks: 18, window: 20 }),
];

const SHAPES: [number, number, number, KvType, KeyStorage][] = [
  [6, 2, 32, "f16", "rotated"],
  [4, 1, 32, "q8_0", "rotated"],
  [2, 2, 32, "q4_0", "raw"],
  [5, 1, 32, "f32", "raw"],
];

test.each(SHAPES)(
  "%d heads that share %d of %d numbers, %s, %s: any steps of short pieces give what each text gives alone",
  async (heads, kvHeads, headWidth, kvType, keys) => {
    const shape = shapeOf({
      heads,
      kvHeads,
      headWidth,
      kvType,
      pairGap: headWidth / 2,
      pageSize: 4,
    });
    const cut = fc.array(fc.integer({ min: 1, max: SHORT_PIECE }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ cut, policy: fc.constantFrom(...POLICIES) }), {
          minLength: 2,
          maxLength: 5,
        }),
        fc.constantFrom(1, 4, 16),
        async (given, pageSize) => {
          const texts = given.map(({ cut, policy }, i) =>
            textOf(
              shape,
              10 * i,
              cut.reduce((a, b) => a + b, 0),
              policy,
            ),
          );
          const together = await attendTo(
            { shape: { ...shape, pageSize }, keys },
            texts,
            inTurns(given.map(({ cut }) => cut)),
          );
          for (const [i, text] of texts.entries()) {
            const [one] = await alone({ shape, keys }, text);
            expect(together[i], `text ${i}: ${text.policy.name}`).toEqual(one);
          }
        },
      ),
      { numRuns: 3, seed: 5 },
    );
  },
  60_000,
);

test("a prompt among texts that decode leaves their bits alone, and is what it is by tokens to roundings", async () => {
  const shape = shapeOf({ heads: 6, kvHeads: 2, headWidth: 32, pageSize: 4, kvType: "f16" });
  for (const policy of POLICIES) {
    const texts = [
      textOf(shape, 1, 40),
      textOf(shape, 4, 90, policy),
      textOf(shape, 7, 33, policy),
    ];
    const steps: [number, number][][] = [
      [
        [0, 16],
        [2, 7],
      ],
      [
        [0, 16],
        [1, 50],
        [2, 16],
      ],
      [
        [2, 1],
        [1, 40],
        [0, 1],
      ],
      ...inTurns([Array(7).fill(1), [], Array(9).fill(1)]),
    ];
    const together = await attendTo({ shape }, texts, steps);
    for (const [i, text] of texts.entries()) {
      const one = (await alone({ shape }, text))[0]!;
      if (i === 1) expectClose(together[i]!, one, { abs: 2e-5 }, policy.name);
      else expect(together[i], policy.name).toEqual(one);
    }
  }
});

test("raw keys whose frequencies move with their texts, in turns and together", async () => {
  const shape = shapeOf({ heads: 4, kvHeads: 2, headWidth: 32, pageSize: 4 });
  const dynamic = () =>
    createRope({ width: 32, base: 1e4, originalContext: 12 }, { kind: "dynamic-ntk", factor: 4 });
  const texts = [textOf(shape, 1, 30), textOf(shape, 4, 22), textOf(shape, 7, 12)];
  const ones: Float32Array[] = [];
  for (const text of texts)
    ones.push((await alone({ shape, rope: dynamic(), keys: "raw" }, text))[0]!);
  const single = (count: number) => Array<number>(count).fill(1);
  const cuts = [[12, ...single(18)], [5, 7, ...single(10)], [12]];
  const schedules = {
    together: inTurns(cuts),
    "in turns": inTurns(cuts).flatMap((pieces) => pieces.map((piece) => [piece])),
  };
  for (const [name, steps] of Object.entries(schedules)) {
    const found = await attendTo({ shape, rope: dynamic(), keys: "raw" }, texts, steps);
    found.forEach((x, i) => {
      expect(x, `${name}, text ${i}`).toEqual(ones[i]);
    });
  }
});

test.each(KEY_STORAGES)(
  "a freed page that another text takes is turned anew: %s keys",
  async (keys) => {
    const shape = shapeOf({ heads: 4, kvHeads: 2, headWidth: 32, pageSize: 4 });
    const window = attentionPolicy({ kind: "window", window: 6 });
    const texts = [textOf(shape, 1, 40, window), textOf(shape, 4, 40, window)];
    const cuts = [Array<number>(40).fill(1), [16, 1, 7, 16]];
    const found = await attendTo({ shape, keys }, texts, inTurns(cuts));
    for (const [i, text] of texts.entries()) {
      expect(found[i]).toEqual((await alone({ shape, keys }, text))[0]);
    }
  },
);
