// What happens to logits on the GPU: a token is chosen, or the likeliest go to the host.

import { describe, expect, test } from "vitest";
import { gumbel } from "../../src/engine/sampler/gumbel.ts";
import { targetOf } from "../../src/kernels/adapter/target.ts";
import {
  chooseTokens,
  drawBytes,
  listTop,
  packDraws,
  type RowDraw,
} from "../../src/kernels/choice/choice.ts";
import { run } from "../../src/kernels/gpu/commands.ts";
import { ParamBlock } from "../../src/kernels/gpu/params.ts";
import { USAGE } from "../../src/kernels/gpu/usage-flags.ts";
import { randomFloats } from "../../src/laboratory/kernels/random.ts";
import { useGpu } from "../support/gpu.ts";

const gpu = await useGpu();
const params = await ParamBlock.create(gpu.device, "choice");
const target = targetOf({ adapter: gpu.adapter, library: gpu.library, params }, "one");
const ROWS = 4;
const storage = USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST;
const draws = await gpu.device.createBuffer("draws", drawBytes(ROWS), storage);
const choices = await gpu.device.createBuffer("choices", 8 * ROWS, storage);
const wanted = await gpu.device.createBuffer("lists wanted", 8 * ROWS, storage);
const LIST_WORDS = 4 + 2 * 1024;
const lists = await gpu.device.createBuffer("lists", 4 * LIST_WORDS * ROWS, storage);

/** What rows of logits are asked for; those of a single row are drawn and listed by themselves. */
async function prepare(logits: Float32Array, rows = 1) {
  const activations = await gpu.activations(rows, logits.length / rows, logits);
  const choose = chooseTokens(target, { logits: activations, draws, choices });
  const top = listTop(target, { logits: activations, wanted, top: lists });
  await gpu.library.ready();
  const chooseAll = async (asked: readonly Partial<RowDraw>[]) => {
    const packed = asked.map((draw) => ({ row: 0, temperature: 0, seed: 0, position: 0, ...draw }));
    gpu.device.queue.writeBuffer(draws, 0, packDraws(packed));
    run(gpu.device, choose, { tokens: asked.length });
    const words = new Uint32Array(await gpu.device.read(choices));
    const floats = new Float32Array(words.buffer);
    return asked.map((_, i) => ({ id: words[2 * i]!, logprob: floats[2 * i + 1]! }));
  };
  const listAll = async (asked: readonly (readonly [row: number, keep: number])[]) => {
    gpu.device.queue.writeBuffer(wanted, 0, Uint32Array.from(asked.flat()));
    run(gpu.device, top, { tokens: asked.length });
    const all = new Uint32Array(await gpu.device.read(lists));
    return asked.map((_, i) => {
      const words = all.slice(i * LIST_WORDS, (i + 1) * LIST_WORDS);
      const floats = new Float32Array(words.buffer);
      const found = Math.min(words[0]!, 1024);
      const entries = Array.from({ length: found }, (_, i) => {
        return { id: words[4 + 2 * i]!, logit: floats[5 + 2 * i]! };
      });
      return { count: words[0]!, logSum: floats[1]!, areNumbers: words[2] === 1, entries };
    });
  };
  return {
    chooseAll,
    listAll,
    choose: async (draw: Partial<RowDraw> = {}) => (await chooseAll([draw]))[0]!,
    top: async (keep: number) => (await listAll([[0, keep]]))[0]!,
    release: () => gpu.release(activations),
  };
}

function logSumOf(logits: Float32Array): number {
  const most = logits.reduce((a, b) => Math.max(a, b));
  return most + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - most), 0));
}

describe("choose", () => {
  test("draws what the host draws from the same noise, and tells its log-probability", async () => {
    const logits = randomFloats(1, 1000, 4);
    const { choose, release } = await prepare(logits);
    const logSum = logSumOf(logits);
    const drawn = new Set<number>();
    for (let position = 0; position < 200; position++) {
      const seed = 2 ** 32 * (position % 3) + 77;
      const temperature = [0.5, 1, 2][position % 3]!;
      const scores = Array.from(logits, (x, id) => x / temperature + gumbel(seed, position, id));
      const sorted = scores.toSorted((a, b) => b - a);
      const { id, logprob } = await choose({ temperature, seed, position });
      // Noise in f32 is off by some 1e-6: scores closer than that may change places, in one draw of a hundred thousand.
      if (sorted[0]! - sorted[1]! > 1e-5) expect(id).toBe(scores.indexOf(sorted[0]!));
      expect(Math.abs(logprob - (logits[id]! - logSum))).toBeLessThan(1e-5);
      drawn.add(id);
    }
    expect(drawn.size).toBeGreaterThan(80);
    release();
  });

  test("draws in proportion to the probabilities", async () => {
    const expected = [0.5, 0.25, 0.15, 0.07, 0.03];
    const { choose, release } = await prepare(Float32Array.from(expected, Math.log));
    const draws = 2000;
    const counts = expected.map(() => 0);
    for (let position = 0; position < draws; position++) {
      counts[(await choose({ temperature: 1, seed: 3, position })).id]! += 1;
    }
    // Pearson's chi-squared with 4 degrees of freedom exceeds 18.47 once in a thousand; the seed is fixed.
    const chiSquared = expected.reduce((sum, p, i) => {
      return sum + (counts[i]! - p * draws) ** 2 / (p * draws);
    }, 0);
    expect(chiSquared).toBeLessThan(18.47);
    release();
  });

  test("never draws what is minus infinity", async () => {
    const logits = new Float32Array(600).fill(Number.NEGATIVE_INFINITY);
    logits[17] = -3e38;
    logits[400] = -3e38;
    const { choose, release } = await prepare(logits);
    for (let position = 0; position < 30; position++) {
      expect([17, 400]).toContain((await choose({ temperature: 2, position })).id);
    }
    expect((await choose()).id).toBe(17);
    release();
  });
});

describe("top", () => {
  test.each([1, 2, 40, 512])("the %d likeliest, and what equals the last of them", async (keep) => {
    for (const [seed, size, scale] of [
      [1, 5000, 10],
      [2, 700, 0.001],
      [3, 513, 1e30],
    ] as const) {
      const logits = randomFloats(seed, size, scale);
      logits[5] = logits[9]!;
      const { top, release } = await prepare(logits);
      const { count, logSum, areNumbers, entries } = await top(keep);
      const sorted = logits.toSorted((a, b) => b - a);
      expect(areNumbers).toBe(true);
      expect(count).toBeGreaterThanOrEqual(keep);
      // 22 bits tell logits apart to one part in 2000 or better.
      expect(count).toBeLessThan(keep + 8);
      for (const { id, logit } of entries) expect(logit).toBe(logits[id]);
      expect(entries.map(({ logit }) => logit).sort((a, b) => b - a)).toEqual([
        ...sorted.subarray(0, count),
      ]);
      expect(new Set(entries.map(({ id }) => id)).size).toBe(count);
      const exact = logSumOf(logits);
      expect(Math.abs(logSum - exact)).toBeLessThan(1e-5 * Math.max(1, Math.abs(exact)));
      release();
    }
  });

  test("zeros of either sign, tiny and infinitely small logits keep their order", async () => {
    const logits = new Float32Array(300).fill(Number.NEGATIVE_INFINITY);
    logits.set([-1, 0, -0, 1e-20, -1e-20, 2], 100);
    const { top, release } = await prepare(logits);
    const { entries } = await top(4);
    expect(entries.map(({ id }) => id).sort()).toEqual([101, 102, 103, 105]);
    expect((await top(300)).count).toBe(300);
    expect((await top(500)).count, "more than there are").toBe(300);
    release();
  });

  test("more equals than there is room for are counted, and what is no number is told", async () => {
    const equal = await prepare(new Float32Array(3000).fill(1.5));
    expect((await equal.top(3)).count).toBe(3000);
    equal.release();
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const logits = randomFloats(1, 500);
      logits[333] = bad;
      const { top, choose, release } = await prepare(logits);
      expect((await top(3)).areNumbers).toBe(false);
      expect((await choose({ temperature: 1 })).id).toBe(0xffffffff);
      release();
    }
  });
});

describe("rows of one step", () => {
  test("are chosen and listed as each alone, in any order and more than once", async () => {
    const V = 777; // rows begin at no multiple of a vector
    const logits = randomFloats(5, 3 * V, 6);
    const together = await prepare(logits, 3);
    const asked = [
      { row: 2, temperature: 0 },
      { row: 0, temperature: 0.7, seed: 9, position: 4 },
      { row: 1, temperature: 1.5, seed: 2 ** 40 + 1, position: 7 },
      { row: 0, temperature: 0.7, seed: 10, position: 4 },
    ];
    const keeps = [
      [1, 5],
      [0, 40],
      [2, 1],
    ] as const;
    const chosen = await together.chooseAll(asked);
    const listed = await together.listAll(keeps);
    together.release();
    const sorted = (entries: readonly { id: number }[]) => entries.toSorted((a, b) => a.id - b.id);
    for (const [i, { row, ...draw }] of asked.entries()) {
      const alone = await prepare(logits.slice(row * V, (row + 1) * V));
      expect(chosen[i]).toEqual(await alone.choose(draw));
      alone.release();
    }
    for (const [i, [row, keep]] of keeps.entries()) {
      const alone = await prepare(logits.slice(row * V, (row + 1) * V));
      const { entries, ...list } = await alone.top(keep);
      expect(listed[i]).toMatchObject(list);
      expect(sorted(listed[i]!.entries)).toEqual(sorted(entries));
      alone.release();
    }
  });
});
