// What queries attend to, read out of the cache of a real model while it streams.

import { expect, test } from "vitest";
import type { Eviction } from "../../src/engine/generation/evictions.ts";
import type { AttentionRow, EngineOptions } from "../../src/index.ts";
import { isVisible, parseAttention, UserError } from "../../src/index.ts";
import { loadEngine } from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";

const file = fixtureModel("stories260K-F32.gguf");
const ids = Array.from({ length: 60 }, (_, i) => (i === 0 ? 1 : 260 + ((i * 31) % 250)));
const sinks = { kind: "sinks", sinks: 3, window: 10 } as const;
const POLICY = { name: "", sinks: 3, window: 10 };

async function rowsOf(options: EngineOptions, layer = 1): Promise<AttentionRow[]> {
  const engine = await loadEngine(file, { kv: "f32", pageSize: 4, context: 60, ...options });
  const rows: AttentionRow[] = [];
  for await (const row of engine.attention(ids, { layer })) rows.push(row);
  expect(engine.usage.pages).toBe(0);
  return rows;
}

/** The weight that head `head` of a row gives a position: 0 where the cache does not hold it. */
function weightOf({ keys, weights }: AttentionRow, head: number, position: number): number {
  const at = keys.indexOf(position);
  return at < 0 ? 0 : weights[head * keys.length + at]!;
}

test("weights add up to 1, are nothing but where the policy sees, and what was evicted is gone", async () => {
  const engine = await loadEngine(file, { context: 60, pageSize: 4, attention: sinks, chunk: 1 });
  const gone: number[] = [];
  const onEvict = ({ positions }: Eviction) => void gone.push(...positions);
  await engine.complete(ids, { maxTokens: 1, temperature: 0, onEvict });

  const rows = await rowsOf({ attention: sinks, chunk: 1 });
  const H = engine.config.heads;
  expect(rows.map(({ query }) => query)).toEqual(ids.map((_, i) => i));
  for (const { query, keys, weights } of rows) {
    expect(weights.length).toBe(H * keys.length);
    expect(keys.at(-1)).toBe(query);
    for (let head = 0; head < H; head++) {
      const row = weights.subarray(head * keys.length, (head + 1) * keys.length);
      // So many roundings of numbers that add up to 1.
      expect(Math.abs(row.reduce((sum, w) => sum + w, 0) - 1)).toBeLessThan(keys.length * 2 ** -23);
      keys.forEach((key, i) => {
        if (isVisible(POLICY, key, query)) expect(row[i]).toBeGreaterThan(0);
        else expect(row[i]).toBe(0);
      });
    }
  }
  const last = rows.at(-1)!;
  const missing = ids.map((_, i) => i).filter((i) => !last.keys.includes(i));
  expect(missing.length).toBeGreaterThan(30);
  expect(missing).toEqual(gone);
});

test("they do not depend on chunks, pages, or how keys are stored, and the text goes on unharmed", async () => {
  const expected = await rowsOf({ attention: sinks, chunk: 1 });
  const heads = expected[0]!.weights.length;
  for (const options of [
    { chunk: 7 },
    { chunk: 60, pageSize: 16 },
    { chunk: 7, keys: "raw" },
  ] as const) {
    const rows = await rowsOf({ attention: sinks, ...options });
    for (const row of rows) {
      for (let head = 0; head < heads; head++) {
        for (let key = 0; key <= row.query; key++) {
          const weight = weightOf(expected[row.query]!, head, key);
          // Scores in f32 of two pipelines: the logits of keys.test.ts differ by as much.
          expect(Math.abs(weightOf(row, head, key) - weight)).toBeLessThan(1e-5);
        }
      }
    }
  }
  // A probed step computes what any other does.
  const engine = await loadEngine(file, { context: 60, pageSize: 4 });
  const before = await engine.score(ids);
  for await (const _ of engine.attention(ids, { layer: 0 })) break;
  expect((await engine.score(ids)).nll).toEqual(before.nll);
  const { buffers } = engine.usage;
  for await (const _ of engine.attention(ids.slice(0, 5), { layer: 0 })) break;
  expect(engine.usage.buffers).toBe(buffers);
});

test("a layer that is none, a text too long, ids that are none: one line", async () => {
  const engine = await loadEngine(file, { context: 20 });
  const first = async (prompt: readonly number[], layer: number) =>
    engine.attention(prompt, { layer }).next();
  await expect(first([1], engine.config.layers)).rejects.toThrow(UserError);
  await expect(first([1], -1)).rejects.toThrow(/layer/);
  await expect(first(ids, 0)).rejects.toThrow(/exceed the context of 20/);
  await expect(first([512], 0)).rejects.toThrow(/none of the model/);
  expect(parseAttention("sinks:3+10")).toEqual(sinks);
});
