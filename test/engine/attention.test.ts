// What a text's logits may depend on, and what they must not: pages, chunks, other texts, the cache itself.
// Windows and sinks against a masked recompute in f64.

import { expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import type { EngineOptions } from "../../src/engine/options.ts";
import { parseAttention } from "../../src/index.ts";
import { loadEngine, step } from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";
import { ALL, nmse, oracleLogits, type Visibility } from "../support/oracle.ts";
import { TINY_TOKENS, tinyModel } from "../support/tiny-model.ts";

/** f32 sums of some hundred products against f64: the differences that were measured are below 1e-12. */
const ROUNDING = 1e-10;

const model = tinyModel({ seed: 2 });
const tokens = Array.from({ length: 48 }, (_, i) => (i * i * 5 + 11 * i) % TINY_TOKENS.length);
const V = TINY_TOKENS.length;

/** The logits of all positions, [T, V]. */
async function logitsOf(engine: Engine, ids: readonly number[]): Promise<Float32Array> {
  const all = new Float32Array(ids.length * V);
  await engine.score(ids, (position, row) => all.set(row, position * V));
  return all;
}

async function tinyLogits(options: EngineOptions): Promise<Float32Array> {
  const engine = await loadEngine(model.bytes, { kv: "f32", ...options });
  const logits = await logitsOf(engine, tokens);
  expect(engine.usage.pages, "pages held after scoring").toBe(0);
  await engine.close();
  return logits;
}

const policies: Record<string, Visibility> = {
  full: ALL,
  "window:1": { sinks: 0, window: 1 },
  "window:7": { sinks: 0, window: 7 },
  "window:16": { sinks: 0, window: 16 },
  "sinks:1+5": { sinks: 1, window: 5 },
  "sinks:4+12": { sinks: 4, window: 12 },
  "sinks:6+1": { sinks: 6, window: 1 },
  "sinks:19+3": { sinks: 19, window: 3 },
};
const PAGE_SIZES = [1, 4, 16, 32, 64];
const CHUNKS = [1, 2, 7, 16, tokens.length];

test.each(Object.entries(policies))("%s is the masked recompute", async (name, visibility) => {
  const expected = oracleLogits(model, tokens, visibility);
  const attention = parseAttention(name);
  const check = async (options: EngineOptions) => {
    const logits = await tinyLogits({ attention, ...options });
    expect(nmse(logits, expected), JSON.stringify(options)).toBeLessThan(ROUNDING);
  };
  // A context of 16 is passed by far: forgetting pages is what makes 48 tokens fit.
  const context = name === "full" ? tokens.length : 16;
  for (const pageSize of PAGE_SIZES) await check({ context, pageSize, chunk: 7 });
  for (const chunk of CHUNKS) await check({ context, pageSize: 4, chunk });
});

test("policies differ from one another", () => {
  const all = Object.values(policies).map((policy) => oracleLogits(model, tokens, policy));
  for (const [i, one] of all.entries()) {
    for (const other of all.slice(i + 1)) expect(nmse(one, other)).toBeGreaterThan(1e-3);
  }
});

test("a window that nothing leaves is full attention, whatever the sinks", async () => {
  const full = await tinyLogits({});
  for (const name of ["window:48", "window:1000", "sinks:0+48", "sinks:4+48", "sinks:48+1"]) {
    // Bit by bit: the same keys in the same order, each with the same rotations.
    expect(await tinyLogits({ attention: parseAttention(name) }), name).toEqual(full);
  }
});

test("a window without sinks is the sinks of none", async () => {
  const window = await tinyLogits({ attention: { kind: "window", window: 9 } });
  const sinks = await tinyLogits({ attention: { kind: "sinks", sinks: 0, window: 9 } });
  expect(sinks).toEqual(window);
});

test("a file's sliding window stays under the user's own policy", async () => {
  const sliding = tinyModel({ seed: 2, slidingWindow: 6 });
  const options = { kv: "f32", context: 48 } as const;
  for (const [name, visibility] of [
    ["full", { sinks: 0, window: 6 }],
    ["window:4", { sinks: 0, window: 4 }],
    ["window:9", { sinks: 0, window: 6 }],
    ["sinks:2+20", { sinks: 2, window: 6 }],
  ] as const) {
    const engine = await loadEngine(sliding.bytes, { ...options, attention: parseAttention(name) });
    const expected = oracleLogits(sliding, tokens, visibility);
    expect(nmse(await logitsOf(engine, tokens), expected), name).toBeLessThan(ROUNDING);
    await engine.close();
  }
});

test("a file's sliding window beyond the context takes no memory of its own", async () => {
  const sliding = tinyModel({ seed: 2, slidingWindow: 2 ** 31 - 1 });
  const engine = await loadEngine(sliding.bytes, { kv: "f32", context: 48 });
  const plain = await loadEngine(model.bytes, { kv: "f32", context: 48 });
  expect(engine.usage.bytes).toBe(plain.usage.bytes);
  expect(await logitsOf(engine, tokens)).toEqual(await logitsOf(plain, tokens));
  // One that the context holds is kept, so that a text may go on past it.
  const held = await loadEngine(tinyModel({ slidingWindow: 48 }).bytes, { context: 48 });
  expect(held.setting.policy.window).toBe(48);
});

test("a request that names full attention sees what the engine does, and ends with the context", async () => {
  const sliding = tinyModel({ seed: 2, slidingWindow: 50 });
  const engine = await loadEngine(sliding.bytes, { kv: "f32", context: 48 });
  const greedy = { maxTokens: 8, temperature: 0, ignoreEos: true };
  const full = { kind: "full" } as const;
  const { tokens: expected } = await engine.complete(tokens.slice(0, 9), greedy);
  const named = await engine.complete(tokens.slice(0, 9), { ...greedy, attention: full });
  expect(named.tokens).toEqual(expected);
  const beyond = { ...greedy, maxTokens: 40, attention: full };
  await expect(engine.complete(tokens.slice(0, 9), beyond)).rejects.toThrow(/context/);
  for await (const { weights, keys } of engine.attention(tokens, { layer: 0, attention: full }))
    expect(weights.length).toBe(sliding.shape.heads * keys.length);
});

test("a file's window beyond the context hides what is further back, of a text that goes on past it", async () => {
  const sliding = tinyModel({ seed: 2, slidingWindow: 20 });
  const attention = { kind: "window", window: 24 } as const;
  const engine = await loadEngine(sliding.bytes, { kv: "f32", context: 16, attention });
  const expected = oracleLogits(sliding, tokens, { sinks: 0, window: 20 });
  expect(nmse(await logitsOf(engine, tokens), expected)).toBeLessThan(ROUNDING);
});

test("two texts that take turns are two texts by themselves", async () => {
  for (const attention of ["full", "sinks:2+9"].map(parseAttention)) {
    const engine = await loadEngine(model.bytes, {
      attention,
      cacheTokens: 512,
      pageSize: 4,
      chunk: 8,
    });
    const texts = [tokens, tokens.toReversed()];
    const alone = [];
    for (const text of texts) {
      const sequence = engine.sequence();
      for (let at = 0; at < text.length; at += 3) {
        alone.push(await step(engine, sequence, text.slice(at, at + 3), 1));
      }
      sequence.clear();
    }
    const sequences = [engine.sequence(), engine.sequence()];
    const turns: Float32Array[][] = [[], []];
    for (let at = 0; at < tokens.length; at += 3) {
      // Asked for at once: the engine makes them wait for each other.
      const steps = texts.map((text, i) => step(engine, sequences[i]!, text.slice(at, at + 3), 1));
      for (const [i, logits] of (await Promise.all(steps)).entries()) turns[i]!.push(logits);
    }
    expect(turns.flat()).toEqual(alone);
    for (const sequence of sequences) sequence.clear();
    expect(engine.usage.pages).toBe(0);
  }
});

test("f16 pages are near f32 pages", async () => {
  const [f16, f32] = [await tinyLogits({ kv: "f16" }), await tinyLogits({ kv: "f32" })];
  const error = nmse(f16, f32);
  // Keys and values of 11 bits: 2^-12 of themselves, squared 6e-8. Less than 1e-10 would mean that they were not used.
  expect(error).toBeLessThan(1e-5);
  expect(error).toBeGreaterThan(1e-10);
});

test("decoding with the cache gives the logits of recomputing without", async () => {
  const engine = await loadEngine(fixtureModel("stories260K-F32.gguf"), { kv: "f32", context: 64 });
  const ids = engine.tokenize("Once upon a time, there was a little girl named Lily. She loved");
  const vocabulary = engine.config.vocabulary;
  const cached = engine.sequence();
  for (let t = 0; t < ids.length; t++) {
    const decoded = await step(engine, cached, [ids[t]!], 1);
    const anew = engine.sequence();
    const recomputed = await step(engine, anew, ids.slice(0, t + 1), 1);
    anew.clear();
    // 1e-4 of the logits' size, as the invariant asks; matvec and matmul sum in different orders.
    const scale = Math.max(...recomputed.map(Math.abs));
    for (let i = 0; i < vocabulary; i++) {
      expect(Math.abs(decoded[i]! - recomputed[i]!)).toBeLessThanOrEqual(1e-4 * scale);
    }
  }
  cached.clear();

  const options = { temperature: 0, maxTokens: 30 };
  const withCache = await engine.complete("Tom and Lily", options);
  const without = await engine.complete("Tom and Lily", { ...options, cache: false });
  expect(without.tokens).toEqual(withCache.tokens);
  expect(without.text).toBe(withCache.text);
});
