// Keys stored raw and turned while they are read: the oracle of the usual mode, and what frequencies that move need.

import { expect, test } from "vitest";
import type { EngineOptions } from "../../src/engine/options.ts";
import { parseAttention, parseRope, UserError } from "../../src/index.ts";
import { loadEngine } from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";
import { nmse, oracleLogits } from "../support/oracle.ts";
import { TINY_TOKENS, tinyModel } from "../support/tiny-model.ts";

/** f32 sums of some hundred products: the differences that were measured are below 1e-12. */
const ROUNDING = 1e-10;

const model = tinyModel({ seed: 2 });
const tokens = Array.from({ length: 48 }, (_, i) => (i * i * 5 + 11 * i) % TINY_TOKENS.length);

async function logitsOf(
  source: string | Uint8Array,
  ids: readonly number[],
  options: EngineOptions,
): Promise<Float32Array> {
  const engine = await loadEngine(source, { kv: "f32", ...options });
  const V = engine.config.vocabulary;
  const all = new Float32Array(ids.length * V);
  await engine.score(ids, (position, row) => all.set(row, position * V));
  await engine.close();
  return all;
}

test.each([
  ["full", 0, Number.POSITIVE_INFINITY],
  ["window:7", 0, 7],
  ["sinks:1+5", 1, 5],
  ["sinks:4+12", 4, 12],
] as const)("raw keys under %s are the masked recompute", async (name, sinks, window) => {
  const expected = oracleLogits(model, tokens, { sinks, window });
  const attention = parseAttention(name);
  const context = name === "full" ? tokens.length : 16;
  for (const [pageSize, chunk] of [
    [1, 7],
    [4, 1],
    [16, 48],
  ] as const) {
    const logits = await logitsOf(model.bytes, tokens, {
      keys: "raw",
      attention,
      context,
      pageSize,
      chunk,
    });
    expect(nmse(logits, expected), `pages of ${pageSize}, chunks of ${chunk}`).toBeLessThan(
      ROUNDING,
    );
  }
});

// Halves that rotate together lie in different cells of a page.
test.each(["qwen3-qknorm-F16.gguf", "llama-odd-F16.gguf"])(
  "raw keys equal rotated ones: %s",
  async (name) => {
    const ids = Array.from({ length: 60 }, (_, i) => (i * 37) % 500);
    const options = {
      attention: parseAttention("sinks:4+20"),
      rope: parseRope("yarn:2:64"),
      context: 64,
    };
    const rotated = await logitsOf(fixtureModel(name), ids, options);
    const raw = await logitsOf(fixtureModel(name), ids, { ...options, keys: "raw", chunk: 7 });
    expect(nmse(raw, rotated)).toBeLessThan(ROUNDING);
  },
);

test("dynamic NTK: nothing up to the trained length, and beyond it the same however the text is cut", async () => {
  const file = fixtureModel("stories260K-F32.gguf"); // trained for 512
  const ids = Array.from({ length: 540 }, (_, i) => (i === 0 ? 1 : 260 + ((i * 31) % 250)));
  const options = { rope: parseRope("dynamic-ntk:2"), context: 540 };
  const [whole, cut, plain] = [
    await logitsOf(file, ids, options),
    await logitsOf(file, ids, { ...options, chunk: 100, pageSize: 32 }),
    await logitsOf(file, ids, { context: 540 }),
  ];
  expect(nmse(cut, whole)).toBeLessThan(ROUNDING);
  const V = whole.length / ids.length;
  expect(nmse(whole.subarray(0, 512 * V), plain.subarray(0, 512 * V))).toBeLessThan(ROUNDING);
  expect(nmse(whole.subarray(539 * V), plain.subarray(539 * V))).toBeGreaterThan(1e-8);
});

test("dynamic NTK over rotated keys is refused", async () => {
  const options: EngineOptions = { rope: parseRope("dynamic-ntk:2"), keys: "rotated" };
  await expect(loadEngine(model.bytes, options)).rejects.toThrow(UserError);
});
