// The attention kernels over pages laid out by hand. In every case here, slots without a token and pages of others hold
// NaN: whatever leaks, shows.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  attentionPolicy,
  FULL_ATTENTION,
  isForgotten,
} from "../../src/context/positions/attention-policy.ts";
import { KV_TYPES } from "../../src/kernels/attention/kv-types.ts";
import { uniform } from "../../src/laboratory/kernels/random.ts";
import {
  type AttentionCase,
  attendOnGpu,
  attentionCase,
  type Layout,
  oracle,
  oracleWeights,
  shapeOf,
  weightsOnGpu,
} from "../support/attention.ts";
import { useGpu } from "../support/gpu.ts";
import { expectClose } from "../support/numbers.ts";

const gpu = await useGpu();

async function expectOracle(c: AttentionCase, layout?: Layout, what?: string): Promise<void> {
  const { expected, abs } = oracle(c);
  expectClose(await attendOnGpu(gpu, c, layout), expected, { abs }, what);
  // A weight is what a value of 1 would be multiplied with: the same bound holds.
  expectClose(await weightsOnGpu(gpu, c, layout), oracleWeights(c, layout), { abs }, what);
}

/** Blocks of 32: one, more than one, as many as make lanes idle, and more than a subgroup has lanes for. */
const QUANTISED = (["f16", "q8_0", "q4_0"] as const).flatMap((kvType) =>
  [32, 64, 96, 256].map((headWidth) => [kvType, headWidth] as const),
);

/** One shape for most tests: every further one costs a pipeline. */
const SHAPE = shapeOf({ headWidth: 16, pageSize: 4 });

describe("full attention equals softmax in f64", () => {
  test.each([8, 16, 32, 64, 80, 96, 128, 256])("heads of %d numbers", async (headWidth) => {
    const shape = shapeOf({ headWidth });
    await expectOracle(attentionCase(headWidth, shape, 37, 3));
    await expectOracle(attentionCase(headWidth, shape, 70, 1), { splits: 3 });
  });

  test.each(QUANTISED)("heads of %s, %d numbers", async (kvType, headWidth) => {
    const shape = shapeOf({ headWidth, kvType });
    await expectOracle(attentionCase(1, shape, 37, 3));
    await expectOracle(attentionCase(2, shape, 1, 1));
    await expectOracle(attentionCase(3, shape, 70, 1), { splits: 3 });
  });

  // Rows are taken by fours: with these, a workgroup ends within a token, at one, and beyond the last.
  test.each([
    [1, 1],
    [6, 2],
    [8, 1],
    [5, 5],
  ])("%d heads that share %d", async (heads, kvHeads) => {
    const shape = shapeOf({ heads, kvHeads, headWidth: 8 });
    for (const tokens of [1, 2, 3, 4, 5]) {
      await expectOracle(attentionCase(tokens, shape, 21, tokens), {}, `${tokens} tokens`);
    }
  });

  test("scores within a cap", async () => {
    const shape = shapeOf({ headWidth: 16, pageSize: 4, scoreCap: 2 });
    const c = attentionCase(5, shape, 37, 3);
    await expectOracle(c);
    await expectOracle(attentionCase(6, shape, 70, 1), { splits: 3 });
    const { expected } = oracle({ ...c, shape: { ...shape, scoreCap: undefined } });
    const { expected: capped, abs } = oracle(c);
    const farthest = Math.max(...capped.map((value, i) => Math.abs(value - expected[i]!)));
    expect(farthest).toBeGreaterThan(100 * abs);
  });

  test("texts one token shorter and longer than a page, a tile, several tiles", async () => {
    for (const length of [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 127, 129]) {
      for (const tokens of [1, Math.min(length, 6), length]) {
        await expectOracle(attentionCase(length, SHAPE, length, tokens), {}, `${tokens}/${length}`);
      }
    }
  });
});

describe("long pieces of a text", () => {
  test.each([8, 64, 80, 128, 256])("heads of %d numbers", async (headWidth) => {
    const shape = shapeOf({ headWidth });
    await expectOracle(attentionCase(headWidth, shape, 75, 40));
    await expectOracle(attentionCase(headWidth, shape, 75, 40), { splits: 3 });
  });

  test.each(KV_TYPES)("cells of %s", async (kvType) => {
    const shape = shapeOf({ headWidth: 32, kvType });
    await expectOracle(attentionCase(1, shape, 75, 40));
  });

  // Tiles that end within a token, at one, and beyond the last; and heads that fill none.
  test.each([
    [1, 1],
    [6, 2],
    [8, 1],
    [5, 5],
    [7, 1],
  ])("%d heads that share %d", async (heads, kvHeads) => {
    const shape = shapeOf({ heads, kvHeads, headWidth: 8 });
    for (const tokens of [17, 31, 32, 33, 64]) {
      await expectOracle(attentionCase(tokens, shape, 70, tokens), {}, `${tokens} tokens`);
    }
  });

  test.each([
    ["window", attentionPolicy({ kind: "window", window: 10 })],
    ["a window of one", attentionPolicy({ kind: "window", window: 1 })],
    ["sinks", attentionPolicy({ kind: "sinks", sinks: 3, window: 10 })],
    ["more sinks than a page", attentionPolicy({ kind: "sinks", sinks: 7, window: 30 })],
  ])("under a policy: %s", async (_, policy) => {
    for (const splits of [1, 2, 7]) {
      await expectOracle(attentionCase(21, SHAPE, 61, 35, policy), { splits }, `${splits} splits`);
    }
  });

  test("scores within a cap", async () => {
    const shape = shapeOf({ headWidth: 16, pageSize: 4, scoreCap: 2 });
    await expectOracle(attentionCase(5, shape, 70, 40), { splits: 2 });
  });
});

describe("pages", () => {
  const text = (pageSize: number) => attentionCase(11, shapeOf({ pageSize }), 75, 5);

  test.each([1, 4, 16, 32, 64])(
    "of %d tokens give the same as one of all, bit by bit",
    async (P) => {
      // Positions, not places, order the sums: so no page size and no place of a page may change a bit.
      const contiguous = await attendOnGpu(gpu, text(64), { physical: [0, 1] });
      const next = uniform(P);
      const count = Math.ceil(75 / P);
      const shuffled = Array.from({ length: count + 3 }, (_, i) => ({ i, key: next() }))
        .sort((a, b) => a.key - b.key)
        .map(({ i }) => i)
        .slice(0, count);
      expect(await attendOnGpu(gpu, text(P), { physical: shuffled })).toEqual(contiguous);
      const { expected, abs } = oracle(text(64));
      expectClose(contiguous, expected, { abs });
    },
  );

  test("any permutation of physical pages gives the same, bit by bit", async () => {
    const c = attentionCase(
      12,
      SHAPE,
      30,
      3,
      attentionPolicy({ kind: "sinks", sinks: 5, window: 9 }),
    );
    const straight = await attendOnGpu(gpu, c, { splits: 2 });
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray([...Array(12).keys()], { minLength: 8, maxLength: 8 }),
        async (physical) => {
          expect(await attendOnGpu(gpu, c, { physical, splits: 2 })).toEqual(straight);
        },
      ),
      { numRuns: 20 },
    );
  });
});

describe("splits", () => {
  test.each([
    ["full", FULL_ATTENTION],
    ["window", attentionPolicy({ kind: "window", window: 10 })],
    ["sinks", attentionPolicy({ kind: "sinks", sinks: 3, window: 10 })],
  ])("any number of them agrees: %s", async (_, policy) => {
    // Up to one slot a split, and more splits than slots; behind a window most see nothing at all.
    for (const tokens of [1, 3]) {
      const c = attentionCase(21, SHAPE, 61, tokens, policy);
      const whole = await attendOnGpu(gpu, c);
      for (const splits of [2, 3, 5, 8, 31, 64, 100]) {
        // The issue asks for 1e-6 relative; near zero that is relative to the values, which are below 1.
        const tolerance = { rel: 1e-6, abs: 2e-7 };
        expectClose(await attendOnGpu(gpu, c, { splits }), whole, tolerance, `${splits} splits`);
      }
      await expectOracle(c, { splits: 5 });
    }
  });

  test("a split without anything visible adds nothing, whatever the others' scores", async () => {
    const c = attentionCase(22, SHAPE, 64, 1, attentionPolicy({ kind: "window", window: 3 }));
    // Scores far below those of nothing: exp(0) of a hidden split would outweigh them all.
    for (let i = 0; i < c.queries.length; i++) c.queries[i]! = -30;
    for (let i = 0; i < c.keys.length; i++) c.keys[i] = 1 + (i % 3) / 100;
    for (const splits of [1, 2, 16]) await expectOracle(c, { splits }, `${splits} splits`);
  });
});

test.each(["f32", "f16", "q8_0", "q4_0"] as const)(
  "a key or a value that is no number shows in what sees it, and in no other head: %s",
  async (kvType) => {
    const shape = shapeOf({ headWidth: 32, kvType });
    const E = shape.headWidth;
    for (const part of ["keys", "values"] as const) {
      const c = attentionCase(51, shape, 40, 3, attentionPolicy({ kind: "window", window: 12 }));
      // Of the second of two key/value heads, at a position that only the first query, at 37, still sees.
      c[part][(26 * 2 + 1) * E + 5] = Number.NaN;
      for (const splits of [1, 2, 5]) {
        const broken = [...(await attendOnGpu(gpu, c, { splits }))].map(Number.isNaN);
        const rows = Array.from({ length: 12 }, (_, row) => broken.slice(row * E, (row + 1) * E));
        // Rows are [T, H]; heads 2 and 3 share that key. One number of a value is one of each sum.
        rows.forEach((row, i) => {
          if (i % 4 < 2) expect(row, `row ${i}`).not.toContain(true);
          if (i !== 2 && i !== 3) return;
          if (part === "keys" || kvType.startsWith("q")) expect(row).not.toContain(false);
          else expect(row[5]).toBe(true);
        });
      }
    }
  },
);

test("heads of a group equal heads with keys of their own", async () => {
  const [length, tokens, E] = [40, 3, 16];
  const grouped = attentionCase(31, shapeOf({ heads: 6, kvHeads: 2 }), length, tokens);
  const repeat = (rows: Float32Array) =>
    Float32Array.from({ length: length * 6 * E }, (_, i) => {
      const [token, head] = [Math.floor(i / (6 * E)), Math.floor(i / E) % 6];
      return rows[(token * 2 + Math.floor(head / 3)) * E + (i % E)]!;
    });
  const own: AttentionCase = {
    ...grouped,
    shape: shapeOf({ heads: 6, kvHeads: 6 }),
    keys: repeat(grouped.keys),
    values: repeat(grouped.values),
  };
  // The same sums in the same order, in two pipelines that may contract differently: a few roundings apart.
  expectClose(await attendOnGpu(gpu, own), await attendOnGpu(gpu, grouped), { abs: 5e-7 });
  await expectOracle(grouped);
});

describe("extreme scores", () => {
  test("a single visible key gives its value, to the bit", async () => {
    const c = attentionCase(41, SHAPE, 20, 1, attentionPolicy({ kind: "window", window: 1 }));
    for (let i = 0; i < c.queries.length; i++) c.queries[i]! *= 3000; // scores of several thousands
    const { heads: H, kvHeads: G, headWidth: E } = SHAPE;
    const expected = Float32Array.from({ length: H * E }, (_, i) => {
      const group = Math.floor(i / E / (H / G));
      return c.values[(19 * G + group) * E + (i % E)]!;
    });
    for (const splits of [1, 4]) expect(await attendOnGpu(gpu, c, { splits })).toEqual(expected);
  });

  test.each([1e4, -1e4])("scores of %d, all alike, give the mean", async (score) => {
    const c = attentionCase(42, SHAPE, 33, 2);
    c.keys.fill(1);
    c.queries.fill(score / SHAPE.headWidth); // 625 sixteen times: exact
    const { expected } = oracle(c);
    // Scores are exact here: what is left are sums of 33 numbers below 1.
    for (const splits of [1, 5])
      expectClose(await attendOnGpu(gpu, c, { splits }), expected, { abs: 33 * 2 ** -24 });
  });

  test.each([0, 17, 32])(
    "one score of 1e4 among many of -1e4, at key %d, wins alone",
    async (winner) => {
      const c = attentionCase(43, SHAPE, 33, 1);
      const row = SHAPE.kvHeads * SHAPE.headWidth;
      c.queries.fill(1e4 / SHAPE.headWidth);
      c.keys.fill(-1);
      c.keys.fill(1, winner * row, (winner + 1) * row);
      const { expected } = oracle(c);
      for (const splits of [1, 5]) {
        expect(await attendOnGpu(gpu, c, { splits })).toEqual(Float32Array.from(expected));
      }
    },
  );
});

describe("visibility", () => {
  test("is the rule of attention-policy.ts for any sinks, window, chunk and split", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.nat(1000),
          length: fc.integer({ min: 1, max: 90 }),
          tokens: fc.integer({ min: 1, max: 12 }),
          sinks: fc.integer({ min: 0, max: 20 }),
          window: fc.integer({ min: 1, max: 40 }),
          splits: fc.integer({ min: 1, max: 6 }),
          evict: fc.boolean(),
        }),
        async ({ seed, length, tokens, sinks, window, splits, evict }) => {
          const policy = attentionPolicy({ kind: "sinks", sinks, window });
          const c = attentionCase(seed, SHAPE, length, Math.min(tokens, length), policy);
          const P = SHAPE.pageSize;
          // With eviction, what the first query can no longer see is not even uploaded.
          const held = [...Array(Math.ceil(length / P)).keys()].filter(
            (page) => !(evict && isForgotten(policy, page * P, page * P + P - 1, c.start)),
          );
          await expectOracle(c, { held, physical: held.map((_, i) => 2 * i + 1), splits });
        },
      ),
      { numRuns: 60, seed: 7 },
    );
  });

  test.each(KV_TYPES)("holds with %s cells and pages of 16", async (kvType) => {
    const shape = shapeOf({ headWidth: 32, kvType });
    for (const [sinks, window] of [
      [4, 12],
      [0, 33],
      [17, 1],
    ] as const) {
      const policy = attentionPolicy({ kind: "sinks", sinks, window });
      await expectOracle(attentionCase(sinks, shape, 83, 6, policy), { splits: 2 });
    }
  });

  test("a key beyond the text is never seen, however near", async () => {
    // The page of the last query has free slots right behind it, which hold NaN.
    for (const length of [17, 18, 19]) await expectOracle(attentionCase(length, SHAPE, length, 1));
  });
});
