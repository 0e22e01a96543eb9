// Requests whose texts begin alike share pages, and each gets its text as if alone. The oracle is an
// engine that shares nothing. Steps have at most 16 rows, so that every row is summed in the same
// order: texts and log-probabilities are equal to the bit.

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Engine, EngineOptions, GenerateOptions, StepReport } from "../../src/index.ts";
import { loadEngine, losableEngine } from "../support/engine.ts";
import { tinyModel } from "../support/tiny-model.ts";

const P = 4;
const model = tinyModel({ seed: 11, heads: 4, kvHeads: 2, context: 160 });
const GREEDY = { temperature: 0, ignoreEos: true, logprobs: 2 } as const;
const SETTING = { pageSize: P, kv: "f32", chunk: 16 } as const;

const steps: StepReport[] = [];
const onStep = (step: StepReport) => void steps.push(step);
let engine: Engine;
let alone: Engine;
beforeAll(async () => {
  const setting = { ...SETTING, cacheTokens: 800 };
  engine = await loadEngine(model.bytes, { ...setting, onStep });
  alone = await loadEngine(model.bytes, { ...setting, prefixes: false });
});
afterAll(() => Promise.all([engine.close(), alone.close()]));

function promptOf(seed: number, length: number): number[] {
  return Array.from({ length }, (_, i) => 2 + ((seed * 31 + i * i * 7 + i) % 30));
}

/** Tokens that steps computed during some work. */
async function computed(work: () => Promise<unknown>): Promise<number> {
  steps.length = 0;
  await work();
  return steps.flatMap(({ pieces }) => pieces).reduce((sum, { tokens }) => sum + tokens, 0);
}

async function text(on: Engine, prompt: readonly number[], options: GenerateOptions) {
  const { tokens, logprobs, usage } = await on.complete(prompt, options);
  return { tokens, logprobs, cached: usage.cachedTokens };
}

describe("a request that begins like one before", () => {
  test("computes only what is new, and its text is the same to the bit", async () => {
    const [first, second] = [promptOf(1, 41), [...promptOf(1, 30), ...promptOf(2, 20)]];
    const ask = { ...GREEDY, maxTokens: 9 };
    for (const [prompt, cached] of [
      [first, 0],
      [second, 28], // whole pages of the first 30 tokens
      [first, 40],
    ] as const) {
      const found = { tokens: [] as readonly number[] };
      const count = await computed(async () => {
        const own = await text(engine, prompt, ask);
        expect(own).toEqual({ ...(await text(alone, prompt, ask)), cached });
        found.tokens = own.tokens;
      });
      expect(count).toBe(prompt.length - cached + 8);
    }
    expect(engine.usage.pages).toBe(0);
  });

  test("finds the answer, too", async () => {
    const prompt = promptOf(3, 20);
    const { tokens } = await text(engine, prompt, { ...GREEDY, maxTokens: 21 });
    const next = [...prompt, ...tokens, 5, 6, 7];
    const found = await text(engine, next, { ...GREEDY, maxTokens: 3 });
    expect(found.cached).toBe(40);
    const own = await text(alone, next, { ...GREEDY, maxTokens: 3 });
    expect(found).toEqual({ ...own, cached: 40 });
  });

  test("finds nothing if the engine, or the request, does without", async () => {
    const prompt = promptOf(4, 30);
    for (let i = 0; i < 2; i++) expect((await text(alone, prompt, GREEDY)).cached).toBe(0);
    await text(engine, prompt, GREEDY);
    const anew = await computed(() => engine.complete(prompt, { cache: false, maxTokens: 1 }));
    expect(anew).toBe(30);
  });

  test("under another policy finds nothing of it", async () => {
    const prompt = promptOf(5, 40);
    await text(engine, prompt, GREEDY);
    for (const attention of ["window:9", "sinks:3+6"] as const) {
      const ask = { ...GREEDY, attention, maxTokens: 5 };
      expect(await text(engine, prompt, ask)).toEqual(await text(alone, prompt, ask));
      const again = await text(engine, prompt, ask);
      expect(again.cached).toBe(36);
      expect(again).toEqual({ ...(await text(alone, prompt, ask)), cached: 36 });
    }
  });
});

describe("requests at the same time", () => {
  test("with one prompt compute it once, and hold its pages once", async () => {
    // A step has room for all prompts at once: each but the first waits for what that computes.
    const setting = { ...SETTING, cacheTokens: 800, chunk: 160 };
    await using engine = await loadEngine(model.bytes, { ...setting, onStep });
    await using alone = await loadEngine(model.bytes, { ...setting, prefixes: false });
    const prompt = promptOf(6, 61);
    const asks = [1, 2, 3, 4].map((seed) => ({
      temperature: 0.9,
      seed,
      maxTokens: 6,
      logprobs: 1,
    }));
    const held: number[] = [];
    let found: Awaited<ReturnType<typeof text>>[] = [];
    const count = await computed(async () => {
      const running = asks.map((ask) => text(engine, prompt, { ...ask, ignoreEos: true }));
      const watch = setInterval(() => held.push(engine.usage.pages));
      found = await Promise.all(running);
      clearInterval(watch);
    });
    // Whole pages once, the rest of the prompt for each.
    expect(count).toBe(60 + 4 * (1 + 5));
    expect(found.map(({ cached }) => cached)).toEqual([0, 60, 60, 60]);
    // 15 pages of the prompt, and two for each of four answers.
    expect(Math.max(...held)).toBeLessThanOrEqual(15 + 4 * 2);
    for (const [i, ask] of asks.entries()) {
      const own = await text(alone, prompt, { ...ask, ignoreEos: true });
      expect(found[i]!.tokens).toEqual(own.tokens);
    }
  });

  test("need room for what they do not share only", async () => {
    // Eight texts of 80 tokens in the place of three: 60 tokens are the same.
    await using small = await loadEngine(model.bytes, { ...SETTING, cacheTokens: 260 });
    const prompt = promptOf(7, 60);
    await text(small, prompt, { ...GREEDY, maxTokens: 1 });
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, small.usage.requests.running);
    });
    const asks = Array.from({ length: 8 }, (_, i) => [...prompt, 2 + i]);
    const found = await Promise.all(
      asks.map((ids) => text(small, ids, { ...GREEDY, maxTokens: 19 })),
    );
    clearInterval(watch);
    expect(most).toBe(8);
    for (const [i, ids] of asks.entries()) {
      const own = await text(alone, ids, { ...GREEDY, maxTokens: 19 });
      expect(found[i]).toEqual({ ...own, cached: 60 });
    }
    expect(small.usage.pages).toBe(0);
  });
});

const POLICIES = ["full", "window:9", "sinks:2+11"] as const;

const asked = fc.record({
  /** Few beginnings, cut at many places, so that texts begin alike. */
  seed: fc.integer({ min: 1, max: 2 }),
  common: fc.integer({ min: 1, max: 60 }),
  own: fc.array(fc.integer({ min: 2, max: 31 }), { maxLength: 12 }),
  maxTokens: fc.integer({ min: 1, max: 20 }),
  temperature: fc.constantFrom(0, 0.8),
  attention: fc.constantFrom(...POLICIES),
  answers: fc.constantFrom(undefined, undefined, 3),
  beams: fc.constantFrom(undefined, undefined, undefined, 3),
  draft: fc.constantFrom(undefined, undefined, "ngram" as const),
  turns: fc.integer({ min: 0, max: 8 }),
});

const short = tinyModel({ seed: 14, context: 40 });
const wide = tinyModel({ seed: 12, width: 64, heads: 2, kvHeads: 1, headWidth: 32, context: 160 });
const sliding = tinyModel({ seed: 13, context: 160, slidingWindow: 12, slidingPattern: 2 });
const NTK = { kind: "dynamic-ntk", factor: 2 } as const;
const RAW = { pageSize: 32, kv: "q8_0", keys: "raw" } as const;

test.each<[name: string, file: Uint8Array, options: EngineOptions]>([
  ["pages of 4 tokens", model.bytes, { cacheTokens: 800 }],
  ["pages of one token, f16", wide.bytes, { pageSize: 1, kv: "f16" }],
  ["pages of 32 tokens, q8_0, raw keys", wide.bytes, { ...RAW, cacheTokens: 320 }],
  ["q4_0, pieces of 5", wide.bytes, { kv: "q4_0", chunk: 5 }],
  ["dynamic NTK beyond 40 tokens", short.bytes, { rope: NTK, context: 160, cacheTokens: 500 }],
  ["windows of the model's own", sliding.bytes, { cacheTokens: 400 }],
  ["a cache that is too small for all", model.bytes, { cacheTokens: 170 }],
])("any requests at any time are as alone: %s", async (_, file, options) => {
  const setting = { ...SETTING, ...options };
  await using on = await loadEngine(file, setting);
  await using oracle = await loadEngine(file, { ...setting, prefixes: false });
  let cached = 0;
  let texts = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(asked, { minLength: 2, maxLength: 8 }), async (requests) => {
      const run = async (to: Engine, request: (typeof requests)[0]) => {
        const { seed, common, own, turns, beams, draft, temperature, ...ask } = request;
        for (let i = 0; i < turns; i++) await new Promise(setImmediate);
        const prompt = [...promptOf(seed, common), ...own];
        // Beams do not sample.
        const way = beams === undefined ? { seed, temperature, draft } : { beams };
        const options = { ...ask, ...way, ignoreEos: true, logprobs: 2 };
        const { answers, ...first } = await to.complete(prompt, options);
        const all = (answers ?? [first]).map(({ tokens, logprobs }) => ({ tokens, logprobs }));
        return { all, cached: first.usage.cachedTokens };
      };
      const together = await Promise.all(requests.map((each) => run(on, each)));
      for (const [i, each] of requests.entries()) {
        const { all } = await run(oracle, { ...each, turns: 0 });
        expect(together[i]!.all).toEqual(all);
        cached += together[i]!.cached;
        texts += all.length;
      }
      expect(on.usage.pages).toBe(0);
      expect(on.usage.requests).toMatchObject({ running: 0, waiting: 0 });
    }),
    { numRuns: 6, seed: 23 },
  );
  expect(cached / texts).toBeGreaterThan(1);
});

test("texts that shared pages on a device that is lost share them again on the next", async () => {
  // Four texts of 84 tokens share 60: without that, there is room for two.
  const setting = { ...SETTING, cacheTokens: 60 + 4 * 28 };
  const { engine: on, lose, opened } = await losableEngine(model.bytes, setting);
  const prompt = promptOf(8, 60);
  await on.complete(prompt, { ...GREEDY, maxTokens: 1 });
  const asks = Array.from({ length: 4 }, (_, i) => [...prompt, 2 + i]);
  let pieces = 0;
  const running = asks.map(async (ids) => {
    const tokens: number[] = [];
    for await (const { id } of on.generate(ids, { ...GREEDY, maxTokens: 22 })) {
      tokens.push(id);
      if (++pieces === 30) lose();
    }
    return tokens;
  });
  const found = await Promise.all(running);
  expect(opened()).toBe(2);
  for (const [i, ids] of asks.entries()) {
    expect(found[i]).toEqual((await text(alone, ids, { ...GREEDY, maxTokens: 22 })).tokens);
  }
  expect(on.usage.pages).toBe(0);
});

describe("what a request was promised stays there for it", () => {
  const window = { ...SETTING, attention: "window:60" } as const;

  test("though a window lets go of pages that others still read", async () => {
    await using on = await loadEngine(model.bytes, { ...window, cacheTokens: 120 });
    await using oracle = await loadEngine(model.bytes, { ...window, prefixes: false });
    const ask = { temperature: 0.9, seed: 3, ignoreEos: true, maxTokens: 100, answers: 3 };
    const found = await on.complete(promptOf(9, 60), ask);
    const expected = await oracle.complete(promptOf(9, 60), ask);
    expect(found.answers!.map(({ tokens }) => tokens)).toEqual(
      expected.answers!.map(({ tokens }) => tokens),
    );
    // Others that begin alike, beside one whose reader is slow.
    const slow = on.generate(promptOf(9, 60), { ...GREEDY, maxTokens: 100 });
    await slow.next();
    const asks = [5, 6, 7].map((id) => [...promptOf(9, 60), id]);
    const texts = await Promise.all(
      asks.map((ids) => on.complete(ids, { ...GREEDY, maxTokens: 80 })),
    );
    for (const [i, ids] of asks.entries()) {
      const own = await oracle.complete(ids, { ...GREEDY, maxTokens: 80 });
      expect(texts[i]!.tokens).toEqual(own.tokens);
    }
    await slow.return(undefined as never);
    expect(on.usage.pages).toBe(0);
  });

  test("though a kept text has lost its pages with a device", async () => {
    const setting = { ...SETTING, context: 120, cacheTokens: 252 };
    const { engine: on, lose } = await losableEngine(model.bytes, setting);
    const prefixCache = on.prefixCache();
    await on.complete(promptOf(4, 70), { ...GREEDY, maxTokens: 5, prefixCache });
    lose();
    const [running, again] = await Promise.all([
      on.complete(promptOf(5, 60), { ...GREEDY, maxTokens: 60 }),
      on.complete(promptOf(4, 75), { ...GREEDY, maxTokens: 40, prefixCache }),
    ]);
    for (const [prompt, maxTokens, found] of [
      [promptOf(5, 60), 60, running],
      [promptOf(4, 75), 40, again],
    ] as const) {
      expect(found.tokens).toEqual((await text(alone, prompt, { ...GREEDY, maxTokens })).tokens);
    }
    expect(again.usage.cachedTokens).toBeLessThan(75);
  });
});
