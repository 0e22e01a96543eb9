// A model whose layers see differently has a page table for each kind of them: texts go on, are reused and end as with one.

import { beforeAll, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { UserError } from "../../src/index.ts";
import { loadEngine } from "../support/engine.ts";
import { tinyModel } from "../support/tiny-model.ts";

/** Every second layer sees the last five tokens, the others all. */
const model = tinyModel({ layers: 4, slidingWindow: 5, slidingPattern: 2 });
const PROMPT = [2, 9, 4, 17, 6, 3, 12, 5, 8, 11, 7];
const GREEDY = { temperature: 0, ignoreEos: true, maxTokens: 12 } as const;

let engine: Engine;
beforeAll(async () => {
  const options = { context: 64, chunk: 16, pageSize: 4, cacheTokens: 128, sequences: 2 };
  // Without shared pages, so that what is computed again is computed anew.
  engine = await loadEngine(model.bytes, { ...options, kv: "f32", prefixes: false });
});

test("has two groups, of which the windowed one needs fewer pages", () => {
  const { groups } = engine.setting.cache;
  expect(groups.map(({ layers }) => layers.length)).toEqual([2, 2]);
  const pages = groups.map((group) => group.pages);
  expect(pages.toSorted((a, b) => a - b)).toEqual([2 * 6, 128 / 4]);
});

test("a text is the same chosen on the GPU, by the host, and recomputed for every token", async () => {
  const chosen = await engine.complete(PROMPT, GREEDY);
  expect(chosen.tokens.length).toBe(12);
  expect((await engine.complete(PROMPT, { ...GREEDY, logprobs: 1 })).tokens).toEqual(chosen.tokens);
  expect((await engine.complete(PROMPT, { ...GREEDY, cache: false })).tokens).toEqual(
    chosen.tokens,
  );
  expect(engine.usage.pages).toBe(0);
});

test("a kept text is gone on from, and starts anew if a windowed layer has forgotten what is seen there", async () => {
  using prefixCache = engine.prefixCache();
  const first = await engine.complete(PROMPT, { ...GREEDY, prefixCache });
  const longer = [...PROMPT, ...first.tokens, 3, 9];
  const warm = await engine.complete(longer, { ...GREEDY, prefixCache });
  expect(warm.usage.cachedTokens).toBe(PROMPT.length + 11);
  expect(warm.tokens).toEqual((await engine.complete(longer, GREEDY)).tokens);
  const shorter = longer.slice(0, 9);
  const anew = await engine.complete(shorter, { ...GREEDY, prefixCache });
  expect(anew.usage.cachedTokens).toBe(0);
  expect(anew.tokens).toEqual((await engine.complete(shorter, GREEDY)).tokens);
});

test("what a layer attends to is what its window lets it see", async () => {
  for (const layer of [0, 1, 2, 3]) {
    const window = engine.config.traits[layer]!.window;
    for await (const { query, keys, weights } of engine.attention(PROMPT, { layer })) {
      const seen = [...keys].filter((_, i) => weights[i]! > 0);
      expect(seen).toEqual([...Array(query + 1).keys()].filter((key) => query - key < window));
    }
  }
});

test("a request that is aborted before it begins leaves the kept text as it was", async () => {
  using prefixCache = engine.prefixCache();
  await engine.complete(PROMPT, { ...GREEDY, prefixCache });
  const kept = [...prefixCache.ids];
  expect(kept.length).toBeGreaterThan(PROMPT.length);
  const signal = AbortSignal.abort();
  const { finishReason } = await engine.complete(PROMPT, { ...GREEDY, prefixCache, signal });
  expect(finishReason).toBe("aborted");
  expect(prefixCache.ids).toEqual(kept);
});

test("another engine's sequence, and a promise that is no choice, are refused", async () => {
  await using other = await loadEngine(model.bytes, { context: 64 });
  const wanted = { kind: "nothing" } as const;
  const foreign = { sequence: other.sequence(), tokens: [2], wanted };
  await expect(async () => engine.run(foreign)).rejects.toThrow(/another engine's/);
  const own = { sequence: engine.sequence(), tokens: Promise.resolve(2), wanted };
  await expect(async () => engine.run(own)).rejects.toThrow(UserError);
});

test("known tokens wait for a chosen one that is on its way", async () => {
  const sequence = engine.sequence();
  const choice = { kind: "choice", draw: { temperature: 0, seed: 0 } } as const;
  const first = await engine.run({ sequence, tokens: PROMPT, wanted: choice });
  await engine.run({ sequence, tokens: first.token, wanted: choice });
  const logits = await engine.run({ sequence, tokens: [7], wanted: { kind: "logits", rows: 1 } });
  expect(sequence.ids).toEqual([...PROMPT, await first.token, 7]);
  expect(logits.length).toBe(engine.config.vocabulary);
  sequence.clear();
});
