// What a model computes is no number, or exceeds what pages hold: a typed error of every task, and never a text.

import { describe, expect, test } from "vitest";
import { TextIndex } from "../../src/context/text/retrieval/text-index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { EngineOptions } from "../../src/engine/options.ts";
import { NotFiniteError } from "../../src/engine/run/not-finite.ts";
import { perplexity } from "../../src/engine/tasks/score.ts";
import { UserError } from "../../src/errors.ts";
import { loadEngine } from "../support/engine.ts";
import { writeGguf } from "../support/gguf-writer.ts";
import { type TinyShape, tinyModel } from "../support/tiny-model.ts";

const SHAPE: Partial<TinyShape> = { width: 64, heads: 2, kvHeads: 1, headWidth: 32, biases: "qkv" };

/** A tiny model with some numbers of a tensor replaced. */
function changed(name: string, change: (x: number, i: number) => number, shape = SHAPE) {
  const { contents } = tinyModel(shape);
  const tensors = contents.tensors!.map((tensor) => {
    if (tensor.name !== name) return tensor;
    const values = new Float32Array(tensor.data!.slice().buffer).map(change);
    return { ...tensor, data: new Uint8Array(values.buffer) };
  });
  expect(contents.tensors!.map((tensor) => tensor.name)).toContain(name);
  return writeGguf({ ...contents, tensors });
}

const TEXT = "once upon a time there was a cat that sat";
const SHORT = { maxTokens: 4, ignoreEos: true } as const;

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** One call of each task that gives something out of a model. */
const TASKS: Readonly<Record<string, (engine: Engine) => Promise<unknown>>> = {
  "generate greedily": (e) => e.complete(TEXT, { ...SHORT, temperature: 0 }),
  "generate by sampling": (e) => e.complete(TEXT, { ...SHORT, temperature: 1, seed: 1 }),
  "generate with top-k": (e) => e.complete(TEXT, { ...SHORT, temperature: 1, topK: 3, seed: 1 }),
  "generate with log-probabilities": (e) => e.complete(TEXT, { ...SHORT, logprobs: 3 }),
  "generate without a cache": (e) => e.complete(TEXT, { ...SHORT, cache: false }),
  "generate after one token": (e) => e.complete([2], { ...SHORT, temperature: 0 }),
  chat: (e) => all(e.chat([{ role: "user", content: TEXT }], SHORT)),
  score: (e) => e.score(e.tokenize(TEXT)),
  embed: (e) => e.embed(TEXT),
  "embed as they are, by the last token": (e) =>
    e.embed(TEXT, { pooling: "last", normalize: false }),
  attention: (e) => all(e.attention(TEXT, { layer: 1 })),
  summarize: (e) =>
    e.summarize(`${TEXT}. ${TEXT}. ${TEXT}.`, { budget: 12, prompt: (text) => text }),
  index: (e) => new TextIndex(e, { size: 8, layer: 2 }).add(TEXT, "text"),
};

/** Expects a `NotFiniteError` of every task but those that are `sound`. */
async function expectRefused(
  model: Uint8Array,
  options: EngineOptions,
  message: RegExp,
  sound: readonly string[] = [],
): Promise<void> {
  const engine = await loadEngine(model, { context: 256, ...options });
  for (const [task, run] of Object.entries(TASKS)) {
    const error: unknown = await run(engine).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (sound.includes(task)) expect(error, task).toBeUndefined();
    else {
      expect(error, task).toBeInstanceOf(NotFiniteError);
      expect((error as Error).message, task).toMatch(message);
    }
  }
  expect(engine.usage.pages, "pages that are still held").toBe(0);
  await engine.close();
}

test("every task works on the model as it is", async () => {
  const engine = await loadEngine(tinyModel(SHAPE).bytes, { context: 256 });
  for (const run of Object.values(TASKS)) await run(engine);
  await engine.close();
});

// Three ways to a key that no half holds, which f32 pages hold: prompts by rope-store, single tokens by attention itself.
const OVERFLOW = /exceed 65504, the most that f16 pages hold: try --kv f32/;
const largeKey = changed("blk.1.attn_k.bias", (x, i) => (i === 3 ? 7e4 : x));
const largeValue = changed("blk.1.attn_v.bias", (x, i) => (i === 3 ? -7e4 : x));

describe("keys and values beyond what pages hold", () => {
  // What layer 0 attends to, and what it leaves, is sound.
  test("keys in f16 pages", () => expectRefused(largeKey, {}, OVERFLOW));

  test("values in f16 pages: attention weights do not depend on them", () =>
    expectRefused(largeValue, {}, OVERFLOW, ["attention"]));

  test.each(["q8_0", "q4_0"] as const)("in %s pages", async (kv) => {
    const most = { q8_0: 127, q4_0: 8 }[kv] * 65504;
    const model = changed("blk.1.attn_k.bias", (x, i) => (i === 3 ? -1.01 * most : x));
    await expectRefused(model, { kv }, new RegExp(`exceed ${most}, the most that ${kv} pages`));
  });

  test("f32 pages hold them", async () => {
    for (const model of [largeKey, largeValue]) {
      const engine = await loadEngine(model, { context: 256, kv: "f32" });
      for (const run of Object.values(TASKS)) await run(engine);
      await engine.close();
    }
  });

  test("raw keys, and prompts of a token a step, say so as well", async () => {
    await expectRefused(largeKey, { keys: "raw" }, OVERFLOW);
    await expectRefused(largeKey, { chunk: 1 }, OVERFLOW);
  });
});

describe("weights that are no numbers", () => {
  const BROKEN = /: a weight of the model is broken\.$/;
  const kv = "f32";

  test.each([
    ["NaN in the queries", "blk.0.attn_q.weight", Number.NaN],
    ["NaN in the keys", "blk.0.attn_k.weight", Number.NaN],
    ["a key of minus infinity", "blk.0.attn_k.bias", Number.NEGATIVE_INFINITY],
    ["an infinite key", "blk.0.attn_k.bias", Number.POSITIVE_INFINITY],
    ["a norm of infinity", "blk.0.attn_norm.weight", Number.POSITIVE_INFINITY],
    ["keys whose products overflow", "blk.0.attn_k.bias", 3e38],
  ])("%s", (_, tensor, bad) =>
    expectRefused(
      changed(tensor, () => bad),
      { kv },
      BROKEN,
    ),
  );

  test.each([
    ["infinite values", "blk.0.attn_v.bias", Number.POSITIVE_INFINITY],
    ["a residual whose squares overflow", "blk.0.ffn_down.weight", 1e22],
  ])("%s, which attention weights of a later layer see", (_, tensor, bad) =>
    expectRefused(
      changed(tensor, () => bad),
      { kv },
      BROKEN,
    ),
  );

  test("in the head: whatever reads no logits goes on", async () => {
    const sound = Object.keys(TASKS).filter((task) => /embed|attention|index/.test(task));
    await expectRefused(
      changed("output.weight", () => Number.NaN),
      { kv },
      BROKEN,
      sound,
    );
  });

  test("a text whose token has no probability, and a mean without a perplexity", async () => {
    const shape = { ...SHAPE, biases: "all" } as const;
    const bans = (bias: number) =>
      loadEngine(
        changed("output.bias", (x, i) => (i === 5 ? bias : x), shape),
        { kv },
      );
    const never = await bans(Number.NEGATIVE_INFINITY);
    await expect(never.score([0, 5, 6])).rejects.toThrow(/likelihood of token 5 is Infinity/);
    expect((await never.score([0, 6, 7])).perplexity).toBeGreaterThan(1);
    await never.complete([2, 3], { ...SHORT, temperature: 0 });
    const hardly = await bans(-1e6);
    await expect(hardly.score([0, 5, 6])).rejects.toThrow(UserError);
    expect(perplexity([Math.log(3)])).toBeCloseTo(3, 12);
    expect(() => perplexity([1e6])).toThrow(/1000000 nats has no perplexity/);
  });
});
