// Requests that run at the same time share steps, and each gets its text as if alone.

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Engine,
  EngineClosedError,
  type EngineOptions,
  type StepReport,
  TooManyRequestsError,
} from "../../src/index.ts";
import { loadEngine } from "../support/engine.ts";
import { tinyModel } from "../support/tiny-model.ts";

const model = tinyModel({ seed: 11, heads: 4, kvHeads: 2, context: 160 });
const GREEDY = { temperature: 0, ignoreEos: true } as const;

const reports: StepReport[] = [];
let engine: Engine;
beforeAll(async () => {
  engine = await loadEngine(model.bytes, {
    pageSize: 4,
    kv: "f32",
    chunk: 48,
    cacheTokens: 1600,
    prefixes: false, // the same text alone is computed anew, as the oracle
    onStep: (step) => reports.push(step),
  });
});
afterAll(() => engine.close());

/** Ids of a prompt that only `seed` and `length` decide. */
function promptOf(seed: number, length: number): number[] {
  return Array.from({ length }, (_, i) => 2 + ((seed * 31 + i * i * 7 + i) % 30));
}

/** How many tokens each step of some work has, and of how many texts. */
async function stepsOf(work: () => Promise<unknown>): Promise<{ tokens: number; texts: number }[]> {
  reports.length = 0;
  await work();
  return reports.map(({ pieces }) => ({
    tokens: pieces.reduce((sum, { tokens }) => sum + tokens, 0),
    texts: pieces.length,
  }));
}

const POLICIES = ["full", "window:9", "sinks:2+11"] as const;

/** Fewer in CI, for time: the name of the test tells how many. */
const REQUESTS = process.env.CI ? 400 : 2000;

interface Asked {
  readonly seed: number;
  readonly length: number;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly attention: (typeof POLICIES)[number];
  readonly turns: number;
  readonly draft: "ngram" | "ngram:5" | undefined;
}

const asked: fc.Arbitrary<Asked> = fc.record({
  seed: fc.integer({ min: 1, max: 99 }),
  length: fc.integer({ min: 1, max: 70 }),
  maxTokens: fc.integer({ min: 1, max: 24 }),
  temperature: fc.constantFrom(0, 0.8),
  topK: fc.constantFrom(0, 5),
  attention: fc.constantFrom(...POLICIES),
  turns: fc.integer({ min: 0, max: 5 }),
  draft: fc.constantFrom(undefined, "ngram", "ngram:5"),
});

async function complete({ length, turns, ...options }: Asked, on: Engine = engine) {
  for (let i = 0; i < turns; i++) await new Promise(setImmediate);
  const prompt = promptOf(options.seed, length);
  const { tokens, logprobs } = await on.complete(prompt, {
    ...options,
    ignoreEos: true,
    logprobs: 2,
  });
  return { tokens, logprobs };
}

/** Two texts are alike, or part where the two best logits are as close as another order of sums may move them. */
function expectAlike(
  found: Awaited<ReturnType<typeof complete>>,
  alone: Awaited<ReturnType<typeof complete>>,
): boolean {
  const differs = found.tokens.findIndex((id, i) => id !== alone.tokens[i]);
  if (differs < 0) {
    expect(found.tokens.length).toBe(alone.tokens.length);
    return true;
  }
  const [first, second] = alone.logprobs[differs]!.top!;
  expect(first!.logprob - second!.logprob).toBeLessThan(1e-4);
  return false;
}

/** Any requests at the same time give what each gives alone. */
async function checkTogether(on: Engine, numRuns: number, steps: StepReport[]): Promise<void> {
  let nearTies = 0;
  steps.length = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(asked, { minLength: 2, maxLength: 9 }), async (requests) => {
      const together = await Promise.all(requests.map((each) => complete(each, on)));
      for (const [i, each] of requests.entries()) {
        if (!expectAlike(together[i]!, await complete({ ...each, turns: 0, draft: undefined }, on)))
          nearTies++;
      }
      expect(on.usage.pages).toBe(0);
      expect(on.usage.requests).toMatchObject({ running: 0, waiting: 0 });
    }),
    { numRuns, seed: 19 },
  );
  expect(steps.filter(({ pieces }) => pieces.length > 1).length).toBeGreaterThan(numRuns);
  console.log(`near ties (the two best logits within 1e-4): ${nearTies}`);
}

test("any requests at the same time give what each gives alone", () =>
  checkTogether(engine, 12, reports));

const wide = tinyModel({ seed: 12, width: 64, heads: 2, kvHeads: 1, headWidth: 32, context: 160 });
const short = tinyModel({ seed: 14, context: 40 });
const sliding = tinyModel({ seed: 13, context: 160, slidingWindow: 12, slidingPattern: 2 });

const NTK = { kind: "dynamic-ntk", factor: 2 } as const;

test.each<[name: string, file: Uint8Array, options: EngineOptions]>([
  ["pages of one token, f16", wide.bytes, { pageSize: 1, kv: "f16" }],
  ["pages of 32 tokens, q8_0, raw keys", wide.bytes, { pageSize: 32, kv: "q8_0", keys: "raw" }],
  ["pages of 16 tokens, q4_0, pieces of 5", wide.bytes, { kv: "q4_0", chunk: 5 }],
  ["dynamic NTK beyond 40 tokens", short.bytes, { rope: NTK, context: 160, kv: "f32" }],
  ["windows of the model's own", sliding.bytes, { pageSize: 4, kv: "f32", cacheTokens: 400 }],
  ["a cache that is too small for all", model.bytes, { pageSize: 4, kv: "f32", cacheTokens: 170 }],
])("any requests at the same time: %s", async (_, file, options) => {
  const steps: StepReport[] = [];
  const onStep = (step: StepReport) => void steps.push(step);
  await using on = await loadEngine(file, { ...options, prefixes: false, onStep });
  await checkTogether(on, 4, steps);
});

test("texts that decode share every step, and are the same to the bit as alone", async () => {
  const prompts = [3, 5, 6, 2].map((length, i) => promptOf(40 + i, length));
  const ask = { ...GREEDY, maxTokens: 20, logprobs: 1 };
  const alone = [];
  for (const prompt of prompts) alone.push(await engine.complete(prompt, ask));
  let together: typeof alone = [];
  const steps = await stepsOf(async () => {
    together = await Promise.all(prompts.map((prompt) => engine.complete(prompt, ask)));
  });
  expect(together.map(({ tokens }) => tokens)).toEqual(alone.map(({ tokens }) => tokens));
  // From 1 to 16 rows a step sums each row in the same order: no tolerance.
  expect(together.map(({ logprobs }) => logprobs)).toEqual(alone.map(({ logprobs }) => logprobs));
  expect(steps).toEqual([{ tokens: 16, texts: 4 }, ...Array(19).fill({ tokens: 4, texts: 4 })]);
});

test("a step has 64 texts at most, and the others go in the next", async () => {
  const texts: number[] = [];
  await using many = await loadEngine(model.bytes, {
    pageSize: 4,
    kv: "f32",
    sequences: 70,
    cacheTokens: 70 * 8,
    onStep: ({ pieces }) => texts.push(pieces.length),
  });
  const ask = { ...GREEDY, maxTokens: 5 };
  const prompts = Array.from({ length: 70 }, (_, i) => promptOf(i, 2));
  const together = await Promise.all(prompts.map((prompt) => many.complete(prompt, ask)));
  expect(Math.max(...texts)).toBe(64);
  for (const i of [0, 63, 64, 69]) {
    expect(together[i]!.tokens).toEqual((await many.complete(prompts[i]!, ask)).tokens);
  }
});

test("a long prompt goes beside a text that decodes, at most 32 tokens a step", async () => {
  const steps = await stepsOf(() =>
    Promise.all([
      engine.complete(promptOf(1, 4), { ...GREEDY, maxTokens: 12 }),
      engine.complete(promptOf(2, 100), { ...GREEDY, maxTokens: 2 }),
    ]),
  );
  expect(steps.map(({ tokens }) => tokens).slice(0, 5)).toEqual([48, 5, 33, 17, 5]);
});

test("scores, vectors and attention run among texts, as alone", async () => {
  const ids = promptOf(7, 30);
  const rows = async () => {
    const found = [];
    for await (const { query, keys } of engine.attention(ids, { layer: 1 })) {
      found.push([query, keys.length]);
    }
    return found;
  };
  const work = () =>
    [
      engine.score(ids).then(({ argmax }) => argmax),
      engine.embed(ids).then((vector) => [...vector].map((x) => x.toFixed(4))),
      rows(),
      engine.complete(ids, { ...GREEDY, maxTokens: 9 }).then(({ tokens }) => tokens),
    ] as const;
  const alone = [];
  for (const i of [0, 1, 2, 3]) alone.push(await work()[i]);
  expect(await Promise.all(work())).toEqual(alone);
});

describe("a reader that does not pull", () => {
  test("has 32 tokens computed for it, and takes no place of another", async () => {
    await using small = await loadEngine(model.bytes, { pageSize: 4, kv: "f32", sequences: 1 });
    const idle = small.generate(promptOf(3, 6), { ...GREEDY, maxTokens: 100 });
    const first = await idle.next();
    // One request may run at a time: this one runs when the other is 32 tokens ahead of its reader.
    const other = await small.complete(promptOf(4, 6), { ...GREEDY, maxTokens: 20 });
    const rest = [];
    for await (const { id } of idle) rest.push(id);
    const alone = await small.complete(promptOf(3, 6), { ...GREEDY, maxTokens: 100 });
    expect([(first.value as { id: number }).id, ...rest]).toEqual(alone.tokens);
    const again = await small.complete(promptOf(4, 6), { ...GREEDY, maxTokens: 20 });
    expect(other.tokens).toEqual(again.tokens);
  });

  test("gives its pages back if another needs them, and is computed again", async () => {
    await using small = await loadEngine(model.bytes, { pageSize: 4, kv: "f32", context: 80 });
    const ask = { ...GREEDY, maxTokens: 60 };
    const idle = small.generate(promptOf(3, 6), ask);
    const first = await idle.next();
    const inner = await small.complete(promptOf(5, 6), ask); // both do not fit the cache
    expect(small.usage.requests).toMatchObject({ yields: 1 });
    const rest = [];
    for await (const { id } of idle) rest.push(id);
    expect([(first.value as { id: number }).id, ...rest]).toEqual(
      (await small.complete(promptOf(3, 6), ask)).tokens,
    );
    expect(inner.tokens).toEqual((await small.complete(promptOf(5, 6), ask)).tokens);
    expect(small.usage.pages).toBe(0);
  });
});

describe("answers to one prompt", () => {
  test("are those of their seeds, and the prompt is computed once", async () => {
    const prompt = promptOf(9, 40);
    const ask = { temperature: 0.9, seed: 5, maxTokens: 8, ignoreEos: true };
    const pieces: number[][] = [[], [], []];
    let result: Awaited<ReturnType<typeof engine.complete>> | undefined;
    const steps = await stepsOf(async () => {
      const generation = engine.generate(prompt, { ...ask, answers: 3 });
      for await (const { id, index } of generation) pieces[index!]!.push(id);
      result = await generation.result;
    });
    const alone = [];
    for (const seed of [5, 6, 7]) alone.push(await engine.complete(prompt, { ...ask, seed }));
    expect(pieces).toEqual(alone.map(({ tokens }) => tokens));
    expect(result!.answers!.map(({ tokens }) => tokens)).toEqual(pieces);
    // 39 tokens once, then the 40th for each: the page that is not full is copied.
    const prompts = steps.reduce((sum, { tokens }) => sum + tokens, 0) - 3 * 7;
    expect(prompts).toBe(39 + 3);
    expect(engine.usage.pages).toBe(0);
  });

  test("give all pages back if they are left early", async () => {
    for await (const _ of engine.generate(promptOf(9, 40), { ...GREEDY, answers: 4 })) break;
    expect(engine.usage.pages).toBe(0);
    expect(engine.usage.requests).toMatchObject({ running: 0, waiting: 0 });
  });
});

test("an error of one request ends that one alone", async () => {
  const prompts = [12, 13, 14].map((seed) => promptOf(seed, 20));
  const ask = { ...GREEDY, maxTokens: 30, attention: "window:9" } as const;
  const fails = () => {
    throw new Error("a listener fails");
  };
  const [first, second, third] = await Promise.allSettled([
    engine.complete(prompts[0]!, ask),
    engine.complete(prompts[1]!, { ...ask, onEvict: fails }),
    engine.complete(prompts[2]!, ask),
  ]);
  expect(second).toMatchObject({ status: "rejected", reason: { message: "a listener fails" } });
  for (const [i, found] of [first, third].entries()) {
    const alone = await engine.complete(prompts[2 * i]!, ask);
    expect(found).toMatchObject({ status: "fulfilled", value: { tokens: alone.tokens } });
  }
  expect(engine.usage.pages).toBe(0);
});

test("too many that wait are refused, and closing ends those that wait and run", async () => {
  const small = await loadEngine(model.bytes, { sequences: 1, maxWaiting: 1 });
  const ask = { ...GREEDY, maxTokens: 60 };
  const [running, waiting, refused] = [1, 2, 3].map((seed) =>
    small.complete(promptOf(seed, 9), ask),
  );
  await expect(refused).rejects.toThrow(TooManyRequestsError);
  const ended = Promise.allSettled([running!, waiting!]);
  await small.close();
  for (const each of await ended) {
    expect(each).toMatchObject({ status: "rejected", reason: expect.any(EngineClosedError) });
  }
});

test(`${REQUESTS} requests of every fate leave nothing behind`, { timeout: 600_000 }, async () => {
  const before = engine.usage;
  const random = (() => {
    let state = 12345;
    return (below: number) => {
      state = (state * 1103515245 + 12345) % 2 ** 31;
      return Math.floor((state / 2 ** 31) * below);
    };
  })();
  let left = REQUESTS;
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const prompt = promptOf(random(99), 1 + random(12));
      const fate = random(6);
      const abort = new AbortController();
      const failing =
        fate === 3
          ? {
              onEvict: () => {
                throw new Error("listener");
              },
            }
          : {};
      const attention = fate === 3 ? ("window:5" as const) : ("full" as const);
      const ask = {
        ...GREEDY,
        maxTokens: 1 + random(6),
        signal: abort.signal,
        attention,
        ...failing,
      };
      const generation = engine.generate(prompt, ask);
      if (fate === 1) setTimeout(() => abort.abort(), random(4));
      let count = 0;
      try {
        for await (const _ of generation) {
          if (fate === 2 && ++count === 2) break;
          if (fate === 4) await new Promise((resolve) => setTimeout(resolve, random(3)));
          if (fate === 5) throw new Error("reader");
        }
      } catch (error) {
        expect((error as Error).message).toMatch(/^(listener|reader)$/);
      }
    }
  };
  await Promise.all(Array.from({ length: 24 }, one));
  const { bytes, buffers } = before;
  expect(engine.usage).toMatchObject({
    bytes,
    buffers,
    pages: 0,
    requests: { running: 0, waiting: 0 },
  });
});
