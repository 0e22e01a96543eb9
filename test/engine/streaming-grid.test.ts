// Streaming as a whole: all sinks by all windows around the borders of pages, by page sizes, by ways to cut a prompt, in
// both modes of keys, against a recompute in f64.

import { expect, test } from "vitest";
import { attentionPolicy } from "../../src/context/positions/attention-policy.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { EngineOptions } from "../../src/engine/options.ts";
import type { AttentionPolicy } from "../../src/index.ts";
import { uniform } from "../../src/laboratory/kernels/random.ts";
import { loadEngine, step } from "../support/engine.ts";
import { inText, kShift, nmse, oracleLogits, type Visibility } from "../support/oracle.ts";
import { TINY_TOKENS, type TinyShape, tinyModel } from "../support/tiny-model.ts";

/** f32 sums of some dozen products against f64, at each position by itself: what was measured is below 1e-11. */
const ROUNDING = 1e-10;

/** The same sums in f64 twice, and at most some thirty turns on top of one another. */
const ROUNDING_F64 = 1e-24;

/** Two heads a key, two keys a token, and a second layer, whose keys have seen what the first has forgotten. */
const SMALL: Partial<TinyShape> = { seed: 2, width: 16, feedForward: 16 };
const V = TINY_TOKENS.length;

const PAGE_SIZES = [1, 4, 16, 32];
const CHUNKS = [1, 7, 512];
const SINKS = [0, 1, 4, 7];
/** Just within a page, a page, just over one, just over two, and one and a half. */
const windowsOf = (P: number) =>
  new Set([P - 1, P, P + 1, 2 * P + 1, Math.ceil(1.5 * P)].filter((window) => window >= 1));

/** How many pages are forgotten before the end of each text. */
const EVICTED = 3;

/** Tokens of a text that goes on for a few more after `EVICTED` pages, the sinks' apart, have left the window. */
function lengthOf({ sinks, window }: Visibility, P: number): number {
  const lastGone = (Math.ceil(sinks / P) + EVICTED) * P - 1;
  return lastGone + window + 4;
}

/** Random, so that no key at another distance is the same by accident. */
const next = uniform(1);
const longest = { sinks: Math.max(...SINKS), window: Math.max(...windowsOf(32)) };
const text = Array.from({ length: lengthOf(longest, 32) }, () => Math.floor(next() * V));

const model = tinyModel(SMALL);

const named = (sinks: number, window: number): AttentionPolicy => ({
  name: `sinks:${sinks}+${window}`,
  sinks,
  window,
});

/** The oracle is quadratic: computed once for each policy, for the longest text that is asked of it. */
const expectations = new Map<string, Float64Array>();
function expected(visibility: Visibility): Float64Array {
  const key = `${visibility.sinks}+${visibility.window}`;
  if (!expectations.has(key)) {
    const lengths = PAGE_SIZES.filter((P) => windowsOf(P).has(visibility.window)).map((P) =>
      lengthOf(visibility, P),
    );
    const logits = oracleLogits(model, text.slice(0, Math.max(...lengths)), visibility);
    expectations.set(key, logits);
  }
  return expectations.get(key)!;
}

/** A prompt of the text's first tokens in as large steps as the engine takes, then a token a step: all logits, [T, V]. */
async function stream(
  engine: Engine,
  ids: readonly number[],
  prompt: number,
  policy?: AttentionPolicy,
): Promise<{ logits: Float32Array; evicted: number }> {
  const logits = new Float32Array(ids.length * V);
  const sequence = engine.sequence(policy);
  let evicted = 0;
  sequence.onEvict = (pages) => {
    evicted += pages.length;
  };
  for (let at = 0; at < ids.length; at = sequence.length) {
    const most = at < prompt ? Math.min(sequence.stepLimit, prompt - at) : 1;
    logits.set(await step(engine, sequence, ids.slice(at, at + most), most), at * V);
  }
  sequence.clear();
  expect(engine.usage.pages, "pages held after a text").toBe(0);
  return { logits, evicted };
}

/** The largest error of a position: a mean over the text would hide that a single one is wrong. */
function worst(actual: Float32Array, wanted: Float64Array): number {
  let most = 0;
  for (let at = 0; at < actual.length; at += V) {
    most = Math.max(most, nmse(actual.subarray(at, at + V), wanted.subarray(at, at + V)));
  }
  return most;
}

const grid = PAGE_SIZES.flatMap((P) => CHUNKS.map((chunk) => [P, chunk] as const));
test.each(grid)("pages of %d, prompts by %d: both modes are the recompute", async (P, chunk) => {
  const options = { kv: "f32", pageSize: P, chunk, context: text.length } as const;
  // Room for the largest policy, which so goes with every page taken.
  const attention = { kind: "sinks", sinks: Math.max(...SINKS), window: 2 * P + 1 } as const;
  const load = (keys: EngineOptions["keys"]) =>
    loadEngine(model.bytes, { ...options, attention, keys });
  const engines = [await load("rotated"), await load("raw")];
  for (const policy of SINKS.flatMap((sinks) => [...windowsOf(P)].map((W) => named(sinks, W)))) {
    const ids = text.slice(0, lengthOf(policy, P));
    const reach = policy.sinks + policy.window;
    // Token by token a prompt is cut as the rest of the text is, however long it is.
    const prompts = chunk === 1 ? [1] : [Math.ceil(reach / 2), reach + 2 * P];
    for (const prompt of prompts) {
      const streams = engines.map((engine) => stream(engine, ids, prompt, policy));
      for (const [i, { logits, evicted }] of (await Promise.all(streams)).entries()) {
        const what = `${["rotated", "raw"][i]} keys, ${policy.name}, a prompt of ${prompt}`;
        expect(evicted, what).toBeGreaterThanOrEqual(EVICTED);
        expect(worst(logits, expected(policy)), what).toBeLessThan(ROUNDING);
      }
    }
  }
  for (const engine of engines) await engine.close();
});

test.each(PAGE_SIZES)("pages of %d: a window is no sinks, and the file's own", async (P) => {
  const options = { kv: "f32", pageSize: P, chunk: 7, context: text.length } as const;
  const attention = { kind: "window", window: 2 * P + 1 } as const;
  const engine = await loadEngine(model.bytes, { ...options, attention });
  for (const W of windowsOf(P)) {
    const ids = text.slice(0, lengthOf({ sinks: 0, window: W }, P));
    const prompt = W + 2 * P;
    const window = attentionPolicy({ kind: "window", window: W });
    const { logits, evicted } = await stream(engine, ids, prompt, window);
    expect(evicted, window.name).toBeGreaterThanOrEqual(EVICTED);
    // What such a model was trained with knows of no cache: text positions under a mask.
    const masked = oracleLogits(model, ids, { sinks: 0, window: W }, inText);
    expect(worst(logits, masked), window.name).toBeLessThan(ROUNDING);

    const sinks = await stream(engine, ids, prompt, named(0, W));
    expect(sinks.logits, window.name).toEqual(logits);
    const file = tinyModel({ ...SMALL, slidingWindow: W }).bytes;
    const sliding = await loadEngine(file, options);
    expect((await stream(sliding, ids, prompt)).logits, `of a file: ${W}`).toEqual(logits);
    await sliding.close();
  }
  await engine.close();
});

// Whatever turns a key turns it by a difference of places: neighbours or halves, all frequencies alike or not.
test.each<[string, Partial<TinyShape>]>([
  ["llama", {}],
  ["qwen2", { architecture: "qwen2", biases: "qkv" }],
  ["linear scaling", { linear: 2 }],
  ["divisors of frequencies", { ropeFreqs: [1, 2, 3, 4] }],
])("cached keys that are turned at every eviction are the same: %s", async (_, shape) => {
  const turning = tinyModel({ ...SMALL, ...shape });
  const policies = [named(0, 2), named(1, 5), named(4, 12), named(7, 33)];
  const engine = await loadEngine(turning.bytes, {
    kv: "f32",
    pageSize: 4,
    chunk: 7,
    attention: policies.at(-1)!,
  });
  for (const policy of policies) {
    // Keys are turned from the end of the cache to the sinks, a place a step, in window after window.
    const reach = policy.sinks + policy.window;
    const ids = text.slice(0, 4 * reach + 8);
    const shifted = oracleLogits(turning, ids, policy, kShift());
    const anew = oracleLogits(turning, ids, policy);
    expect(nmse(shifted, anew), `${policy.name} in f64`).toBeLessThan(ROUNDING_F64);
    const { logits } = await stream(engine, ids, reach + 8, policy);
    expect(worst(logits, shifted), policy.name).toBeLessThan(ROUNDING);
    // Left where they entered, they would be far off: the turns are what makes it right.
    const left = oracleLogits(turning, ids, policy, kShift(0));
    expect(nmse(left, anew), `${policy.name} without turns`).toBeGreaterThan(1e-3);
  }
  await engine.close();
});
