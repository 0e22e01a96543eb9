// Texts that stay in the cache between generations, against the same generations without: nothing may differ but the work.

import fc from "fast-check";
import { beforeAll, describe, expect, test, vi } from "vitest";
import type { AttentionOptions } from "../../src/context/positions/attention-policy.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { Runner } from "../../src/engine/run/runner.ts";
import { LAST_LOGITS } from "../../src/engine/run/step.ts";
import { prefill } from "../../src/engine/tasks/prefill.ts";
import type { PrefixCache } from "../../src/index.ts";
import { loadEngine } from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";
import { nmse } from "../support/oracle.ts";

const GREEDY = { temperature: 0, maxTokens: 12, ignoreEos: true } as const;
/** The two ways differ in the order of sums in f32: 2e-13 was seen over 200 tokens. */
const ROUNDING = 1e-11;

let engine: Engine;
beforeAll(async () => {
  const path = fixtureModel("stories260K-F32.gguf");
  // What other texts leave in the cache is not found: only what a prefix cache keeps.
  const setting = { context: 160, kv: "f32", pageSize: 4, chunk: 32, prefixes: false } as const;
  engine = await loadEngine(path, setting);
});

/** How many tokens are computed by the steps of some work. */
async function tokensComputed(work: () => Promise<unknown>): Promise<number> {
  let computed = 0;
  const { run } = Runner.prototype;
  const spy = vi.spyOn(Runner.prototype, "run").mockImplementation(function (this: Runner, step) {
    for (const { tokens } of step.rows) computed += "length" in tokens ? tokens.length : 1;
    return run.call(this, step);
  } as typeof run);
  try {
    await work();
  } finally {
    spy.mockRestore();
  }
  return computed;
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  const differs = b.findIndex((id, i) => id !== a[i]);
  return differs < 0 ? b.length : differs;
}

describe("the next turn of a conversation", () => {
  test("computes only what is new, and its logits are those of a cold start", async () => {
    using prefixCache = engine.prefixCache();
    const first = engine.tokenize("Once upon a time there was a little girl.");
    const { tokens, usage } = await engine.complete(first, { ...GREEDY, prefixCache });
    expect(usage).toEqual({
      promptTokens: first.length,
      cachedTokens: 0,
      generatedTokens: 12,
      freeTokens: 160 - first.length - 12,
      draftTokens: 0,
      acceptedTokens: 0,
    });

    const added = engine.tokenize(" She had a dog.", { continuation: true });
    const second = [...first, ...tokens, ...added];
    // The last token of the answer has been chosen, but not been computed yet.
    const known = first.length + 11;
    const computed = await tokensComputed(async () => {
      const options = { ...GREEDY, maxTokens: 1, prefixCache };
      const again = await engine.complete(second, options);
      expect(again.usage.cachedTokens).toBe(known);
    });
    expect(computed).toBe(added.length + 1);

    const policy = engine.setting.policy;
    const warm = prefixCache.take([...second, 5], policy);
    expect(warm.length).toBe(second.length);
    const warmLogits = await prefill(engine, warm, [5], LAST_LOGITS);
    warm.clear();
    const cold = engine.sequence();
    const coldLogits = await prefill(engine, cold, [...second, 5], LAST_LOGITS);
    cold.clear();
    expect(nmse(warmLogits, coldLogits)).toBeLessThan(ROUNDING);
  });

  test.each<[string, AttentionOptions]>([
    ["full", { kind: "full" }],
    ["window", { kind: "window", window: 23 }],
    ["sinks", { kind: "sinks", sinks: 5, window: 18 }],
  ])("may take back, change or repeat anything under %s attention", async (_, attention) => {
    const change = fc.record({
      keep: fc.nat(130),
      add: fc.array(fc.integer({ min: 3, max: 500 }), { minLength: 1, maxLength: 60 }),
    });
    const seen = { reused: 0, forgotten: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 3, maxLength: 5 }), async (changes) => {
        using prefixCache = engine.prefixCache();
        let text = engine.tokenize("Once upon a time");
        for (const { keep, add } of changes) {
          text = [
            ...text.slice(0, 1 + Math.floor((text.length * Math.min(keep, 100)) / 100)),
            ...add,
          ].slice(0, 150);
          const options = { ...GREEDY, maxTokens: 1 + (keep % 7), attention };
          const common = Math.min(commonPrefix(prefixCache.ids, text), text.length - 1);
          const kept = await engine.complete(text, { ...options, prefixCache });
          const alone = await engine.complete(text, options);
          expect(kept.tokens).toEqual(alone.tokens);
          expect(kept.usage).toEqual({ ...alone.usage, cachedTokens: kept.usage.cachedTokens });
          const { cachedTokens } = kept.usage;
          if (cachedTokens > 0) expect(cachedTokens).toBe(common);
          else if (common > 0) seen.forgotten++;
          seen.reused += cachedTokens;
          text = [...text, ...kept.tokens];
        }
      }),
      { numRuns: 20, seed: 3 },
    );
    // Without any reuse it would say nothing; nor where nothing that should be seen had been forgotten.
    expect(seen.reused).toBeGreaterThan(400);
    if (attention.kind === "full") expect(seen.forgotten).toBe(0);
    else expect(seen.forgotten).toBeGreaterThan(0);
    expect(engine.usage.pages).toBe(0);
  });

  test("goes on from what a stop string, an abort or an early end have left", async () => {
    const prompt = engine.tokenize("Once upon a time");
    const whole = await engine.complete(prompt, GREEDY);
    for (const end of ["stop", "abort", "break"] as const) {
      using prefixCache = engine.prefixCache();
      const controller = new AbortController();
      const stop = end === "stop" ? [whole.text.slice(9, 12)] : [];
      const options = { ...GREEDY, stop, signal: controller.signal, prefixCache };
      let pieces = 0;
      for await (const _ of engine.generate(prompt, options)) {
        if (++pieces < 4) continue;
        if (end === "abort") controller.abort();
        if (end === "break") break;
      }
      const again = await engine.complete(prompt, { ...GREEDY, prefixCache });
      expect(again.tokens, end).toEqual(whole.tokens);
      expect(again.usage.cachedTokens, end).toBe(prompt.length - 1);
    }
  });
});

describe("a kept text", () => {
  test("gives its pages back where another needs them, the longest idle first", async () => {
    const caches = [0, 1, 2].map(() => engine.prefixCache());
    for (const [i, prefixCache] of caches.entries()) {
      await engine.complete(Array(40).fill(5 + i), { ...GREEDY, maxTokens: 1, prefixCache });
    }
    expect(engine.usage.pages).toBe(30); // of 40
    await engine.complete(Array(70).fill(9), { ...GREEDY, maxTokens: 1 });
    expect(caches.map(({ ids }) => ids.length)).toEqual([0, 40, 40]);
    const again = { ...GREEDY, maxTokens: 1, prefixCache: caches[0]! };
    expect((await engine.complete(Array(40).fill(5), again)).usage.cachedTokens).toBe(0);
    for (const cache of caches) cache.clear();
    expect(engine.usage.pages).toBe(0);
  });

  test("is not shared by generations at the same time, and one of them is kept", async () => {
    using prefixCache = engine.prefixCache();
    const prompts = ["Once upon a time", "There was a dog"].map((text) => engine.tokenize(text));
    const alone = [];
    for (const prompt of prompts) alone.push((await engine.complete(prompt, GREEDY)).tokens);
    const together = await Promise.all(
      prompts.map((prompt) => engine.complete(prompt, { ...GREEDY, prefixCache })),
    );
    expect(together.map(({ tokens }) => tokens)).toEqual(alone);
    const kept = prefixCache.ids.slice(0, 4);
    expect(prompts.map((prompt) => prompt.slice(0, 4))).toContainEqual(kept);
    expect(engine.usage.pages).toBe(Math.ceil(prefixCache.ids.length / 4));
  });

  test("is gone when a generation fails, and none is kept without a cache", async () => {
    using prefixCache = engine.prefixCache();
    const holder = engine.sequence();
    await prefill(engine, holder, Array(120).fill(5), LAST_LOGITS);
    const failing = engine.complete(Array(60).fill(5), { ...GREEDY, prefixCache });
    await expect(failing).rejects.toThrow(/cache is full/);
    expect(prefixCache.ids).toEqual([]);
    holder.clear();
    expect(engine.usage.pages).toBe(0);
    await expect(engine.complete([5], { cache: false, prefixCache })).rejects.toThrow(
      "Without a cache there is no prefix to keep",
    );
  });

  test("is of no use to a text that sees otherwise", async () => {
    using prefixCache = engine.prefixCache();
    const prompt = engine.tokenize("Once upon a time there was a little girl.");
    const options = { ...GREEDY, attention: { kind: "window", window: 6 } } as const;
    await engine.complete(prompt, { ...options, prefixCache });
    const { tokens, usage } = await engine.complete(prompt, { ...GREEDY, prefixCache });
    expect(usage.cachedTokens).toBe(0);
    expect(tokens).toEqual((await engine.complete(prompt, GREEDY)).tokens);
  });
});

describe("the fill of a context", () => {
  const fillsAt = async (options: { fillLevel?: number; attention?: AttentionOptions }) => {
    const seen: number[] = [];
    let pieces = 0;
    const onFill = () => void seen.push(pieces);
    const all = { ...GREEDY, maxTokens: 60, onFill, ...options };
    for await (const _ of engine.generate(Array(100).fill(5), all)) pieces++;
    return seen;
  };

  test("is told once, at the level asked for", async () => {
    expect(await fillsAt({})).toEqual([43]); // the 44th token is the 144th of 160, before its piece
    expect(await fillsAt({ fillLevel: 0.5 })).toEqual([0]); // the prompt alone
    expect(await fillsAt({ fillLevel: 1 })).toEqual([59]);
    expect(await fillsAt({ attention: { kind: "sinks", sinks: 4, window: 30 } })).toEqual([]);
  });

  test("is a share", async () => {
    for (const fillLevel of [0, -1, 1.01, Number.NaN]) {
      await expect(engine.complete([5], { fillLevel })).rejects.toThrow(
        /expected a number above 0, at most 1/,
      );
    }
  });
});

test("a prefix cache is of its engine", async () => {
  const other = await loadEngine(fixtureModel("stories260K-F32.gguf"), { context: 64 });
  const prefixCache: PrefixCache = other.prefixCache();
  await expect(engine.complete([5, 6], { ...GREEDY, prefixCache })).rejects.toThrow(
    "The prefix cache is another engine's",
  );
});
