// Quantised pages under a whole model: the forward pass in f64 whose keys and values are quantised the same way.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { EngineOptions } from "../../src/engine/options.ts";
import { UserError } from "../../src/index.ts";
import { throughKv } from "../../src/kernels/attention/kv-types.ts";
import { loadEngine } from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";
import { ALL, inText, nmse, oracleLogits, storedRaw, storedTurned } from "../support/oracle.ts";
import { TINY_TOKENS, tinyModel } from "../support/tiny-model.ts";

const SHIPPED = fixtureModel("tinystories-4m.Q4_K_M.gguf");
const tokens = Array.from({ length: 48 }, (_, i) => (i * i * 5 + 11 * i) % TINY_TOKENS.length);

async function logitsOf(
  source: string | Uint8Array,
  ids: readonly number[],
  options: EngineOptions,
): Promise<Float32Array> {
  const engine = await loadEngine(source, options);
  const V = engine.config.vocabulary;
  const all = new Float32Array(ids.length * V);
  await engine.score(ids, (position, row) => all.set(row, position * V));
  await engine.close();
  return all;
}

describe.each(["llama", "qwen3"] as const)("%s", (architecture) => {
  // Neighbours and halves turn together. Heads are two blocks.
  const model = tinyModel({ seed: 4, architecture, headWidth: 64 });
  const exact = oracleLogits(model, tokens);

  test.each([
    ["q8_0", "rotated", 7],
    ["q8_0", "raw", 48],
    ["q4_0", "rotated", 48],
    ["q4_0", "raw", 1],
  ] as const)(
    "%s pages, keys %s, chunks of %d: the f64 of quantised keys and values",
    async (kv, keys, chunk) => {
      const stored = (row: Float64Array) =>
        Float64Array.from(throughKv(kv, Float32Array.from(row)));
      const placing = (keys === "raw" ? storedRaw : storedTurned)(inText, stored);
      const expected = oracleLogits(model, tokens, ALL, placing, stored);
      const logits = await logitsOf(model.bytes, tokens, { kv, keys, chunk, pageSize: 4 });
      const effect = nmse(exact, expected);
      expect(effect).toBeGreaterThan(1e-5);
      // 1e-13 as with f32 pages, unless a number falls to the other side of a quantum: 6e-9 was seen of one in q8_0.
      expect(nmse(logits, expected)).toBeLessThan(effect / 1000);
    },
  );
});

// Measured over the first 512 tokens of a text that the model has not seen, perplexity 4.45: f16 +0.006 %, q8_0 +0.001 %
// and q4_0 +17.5 %. That comes from the keys: with values alone in four bits it is +0.7 %.
test.each([
  ["f16", 0.0005],
  ["q8_0", 0.001],
  ["q4_0", 0.25],
] as const)("perplexity with %s pages is that of f32 pages but for %d of it", async (kv, most) => {
  const engine = async (kvType: typeof kv | "f32") =>
    loadEngine(SHIPPED, { kv: kvType, context: 512 });
  const text = readFileSync(new URL("../fixtures/text/stories.txt", import.meta.url), "utf8");
  const perplexities: number[] = [];
  for (const kvType of ["f32", kv] as const) {
    const one = await engine(kvType);
    perplexities.push((await one.score(one.tokenize(text).slice(0, 512))).perplexity);
    await one.close();
  }
  const [exact, stored] = perplexities as [number, number];
  expect(Math.abs(stored / exact - 1)).toBeLessThan(most);
  expect(stored).not.toBe(exact);
});

test.each(["q8_0", "q4_0"] as const)(
  "%s pages for heads that are no whole blocks are refused",
  async (kv) => {
    const model = tinyModel({ headWidth: 40 });
    await expect(loadEngine(model.bytes, { kv })).rejects.toThrow(
      new UserError(
        `${kv} pages need heads of a multiple of 32 numbers; this model's have 40: use f16 or f32.`,
      ),
    );
  },
);

test("what is no type of cells is refused, and all that are types are named", async () => {
  const options = { kv: "q5_0" } as unknown as EngineOptions;
  const failure = loadEngine(SHIPPED, options);
  await expect(failure).rejects.toThrow(UserError);
  await expect(failure).rejects.toThrow(
    /^Invalid kv "q5_0": expected one of f32, f16, q8_0, q4_0; did you mean q8_0 or q4_0\?$/,
  );
});
