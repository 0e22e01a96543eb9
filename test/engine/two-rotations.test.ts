// What is done with texts, on a model whose layers see differently and rotate differently: Gemma 3's, in which five of six
// layers slide by 8 tokens and rotate by another base, without the scaling of the sixth. Each result is that of computing
// anew. Steps have at most 16 rows, which are summed alike: texts are equal to the bit.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LAST_LOGITS } from "../../src/engine/run/step.ts";
import { prefill } from "../../src/engine/tasks/prefill.ts";
import type { Engine, GenerateOptions, Sequence } from "../../src/index.ts";
import { loadEngine, losableEngine } from "../support/engine.ts";
import { familyLogits, logitsOf, TOKENS } from "../support/families/golden.ts";
import { familyModel } from "../support/families/model.ts";
import { FAMILIES } from "../support/families/recipes.ts";
import { nmse } from "../support/oracle.ts";

const model = familyModel(FAMILIES.gemma3);
const SETTING = { kv: "f32", chunk: 16, pageSize: 4, cacheTokens: 1024 } as const;
const GREEDY = { temperature: 0, ignoreEos: true, logprobs: 2, maxTokens: 40 } as const;

let alone: Engine;
let folder: string;
beforeAll(async () => {
  alone = await loadEngine(model, { ...SETTING, prefixes: false });
  folder = await mkdtemp(join(tmpdir(), "dawnstream-rotations-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function textOf(on: Engine, prompt: readonly number[], options: GenerateOptions = {}) {
  const { tokens, logprobs } = await on.complete(prompt, { ...GREEDY, ...options });
  return { tokens, logprobs };
}

test("has a group for each rotation", () => {
  const { groups } = alone.setting.cache;
  expect(groups.map(({ layers, window }) => [layers.length, window])).toEqual([
    [6, 8],
    [1, Number.POSITIVE_INFINITY],
  ]);
  const [sliding, full] = groups.map(({ rope }) => [rope?.model.base, rope?.scaling]);
  expect(sliding).toEqual([10000, { kind: "none" }]);
  expect(full).toEqual([1e6, { kind: "linear", factor: 8 }]);
});

describe("attention policies", () => {
  // Keys that are rotated once, and queries twice; or keys that are rotated to their places whenever they are read.
  test.each(["sinks:2+11", "window:13", "sinks:4+6"] as const)(
    "%s: the same over rotated keys and over raw ones",
    async (attention) => {
      await using rotated = await loadEngine(model, { ...SETTING, attention, chunk: 7 });
      await using raw = await loadEngine(model, { ...SETTING, attention, keys: "raw", chunk: 1 });
      const found = await logitsOf(rotated, TOKENS);
      expect(nmse(found, await logitsOf(raw, TOKENS))).toBeLessThan(1e-10);
      // As without a policy while every layer sees all of the text, and otherwise once the full one does not.
      const known = familyLogits("gemma3", "f64");
      const V = rotated.config.vocabulary;
      expect(nmse(found.subarray(0, 8 * V), known.subarray(0, 8 * V))).toBeLessThan(1e-10);
      expect(nmse(found.subarray(20 * V), known.subarray(20 * V))).toBeGreaterThan(1e-4);
    },
  );

  // Also of layers that do not rotate, queries that grow with their position, and norms after the rotation.
  test.each(["cohere2", "mistral3", "hunyuan-dense"] as const)(
    "%s under sinks: the same over rotated keys and over raw ones",
    async (name) => {
      const bytes = familyModel(FAMILIES[name]);
      const options = { ...SETTING, attention: "sinks:2+20" } as const;
      await using rotated = await loadEngine(bytes, { ...options, chunk: 7 });
      await using raw = await loadEngine(bytes, { ...options, keys: "raw", chunk: 1 });
      const found = await logitsOf(rotated, TOKENS);
      expect(nmse(found, await logitsOf(raw, TOKENS))).toBeLessThan(1e-10);
      expect(nmse(found, familyLogits(name, "llama.cpp"))).toBeGreaterThan(1e-4);
    },
  );

  test("a text under sinks is the same recomputed for every token", async () => {
    const options = { attention: "sinks:2+11" } as const;
    const { tokens } = await textOf(alone, TOKENS.slice(0, 12), options);
    const anew = await alone.complete(TOKENS.slice(0, 12), {
      ...GREEDY,
      ...options,
      cache: false,
    });
    expect(anew.tokens).toEqual(tokens);
    expect(alone.usage.pages).toBe(0);
  });
});

test("texts that begin alike share pages", async () => {
  await using engine = await loadEngine(model, SETTING);
  const prompt = TOKENS.slice(0, 33);
  await textOf(engine, prompt);
  const found = await engine.complete([...prompt, 5, 9, 7], GREEDY);
  expect(found.usage.cachedTokens).toBe(32);
  const { tokens, logprobs } = found;
  expect({ tokens, logprobs }).toEqual(await textOf(alone, [...prompt, 5, 9, 7]));
});

/** The greedy tokens that follow, one a step. */
async function next(engine: Engine, sequence: Sequence, count: number) {
  const ids: number[] = [];
  for (let id = 7; ids.length < count; ) {
    const logits = await engine.run({ sequence, tokens: [id], wanted: LAST_LOGITS });
    id = logits.indexOf(Math.max(...logits));
    ids.push(id);
  }
  return ids;
}

test.each(["full", "sinks:2+11"] as const)(
  "a saved text goes on where it was: %s",
  async (attention) => {
    const path = join(folder, attention.slice(0, 4));
    await using before = await loadEngine(model, { ...SETTING, attention });
    const sequence = before.sequence();
    await prefill(before, sequence, TOKENS, LAST_LOGITS);
    await before.saveSession(path, sequence);
    const expected = await next(before, sequence, 60);
    await using after = await loadEngine(model, { ...SETTING, attention });
    const opened = await after.openSession(path);
    expect(opened.sequence!.ids).toEqual(TOKENS);
    expect(await next(after, opened.sequence!, 60)).toEqual(expected);
  },
);

test("a text goes on when the device is lost", async () => {
  const { engine, lose, opened } = await losableEngine(model, SETTING);
  const ids: number[] = [];
  for await (const { id } of engine.generate(TOKENS, GREEDY)) {
    ids.push(id);
    if (ids.length === 20) lose();
  }
  expect(opened()).toBe(2);
  expect(ids).toEqual((await textOf(alone, TOKENS)).tokens);
});

test.each(["full", "sinks:2+11"] as const)("drafts change nothing: %s", async (attention) => {
  // A text that repeats itself.
  const prompt = Array.from({ length: 40 }, (_, i) => 3 + (i % 10));
  const found = await alone.complete(prompt, { ...GREEDY, attention, draft: "ngram" });
  expect(found.usage.draftTokens).toBeGreaterThan(0);
  const { tokens, logprobs } = found;
  expect({ tokens, logprobs }).toEqual(await textOf(alone, prompt, { attention }));
});
