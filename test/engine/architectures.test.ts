// Every variant of the graph, file and device, on models of a few kB: against the forward pass in f64, or against the
// same model as one whole file on a device without limits.

import { expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { loadEngine, loadShards } from "../support/engine.ts";
import { type GgufContents, type MetadataEntry, writeGguf } from "../support/gguf-writer.ts";
import { cases, scoreCase } from "../support/golden.ts";
import { ALL, nmse, oracleLogits } from "../support/oracle.ts";
import { TINY_TOKENS, type TinyShape, tinyModel } from "../support/tiny-model.ts";

/** f32 sums of some hundred products against f64: the differences that were measured are below 1e-12. */
const ROUNDING = 1e-10;

const tokens = Array.from({ length: 24 }, (_, i) => (i * i * 7 + 3 * i) % TINY_TOKENS.length);

/** The logits of all positions, [T, V]. */
async function logitsOf(engine: Engine, ids: readonly number[]): Promise<Float32Array> {
  const V = engine.config.vocabulary;
  const all = new Float32Array(ids.length * V);
  await engine.score(ids, (position, row) => all.set(row, position * V));
  return all;
}

const variants: Record<string, Partial<TinyShape>> = {
  "llama: groups of two heads": {},
  "one key/value head for all": { kvHeads: 1 },
  "as many key/value heads as heads": { kvHeads: 4 },
  "three heads share one, of a width that is no multiple of 32": {
    width: 36,
    heads: 6,
    kvHeads: 2,
    headWidth: 16,
    feedForward: 52,
  },
  "heads wider than D/H": { headWidth: 24 },
  "a tied output": { tied: true },
  "a bias for every matrix": { biases: "all" },
  "divisors of the frequencies": { ropeFreqs: [1, 1.5, 4, 8] },
  "linear scaling in the file": { linear: 2 },
  "an attention scale in the file": { attentionScale: 0.125 },
  "a sliding window in the file": { slidingWindow: 5 },
  "a sliding window as long as the text": { slidingWindow: 24 },
  "qwen2: halves, biases of q, k and v": { architecture: "qwen2", biases: "qkv" },
  "qwen3: norms of heads, wider than D/H": { architecture: "qwen3", headWidth: 16 },
  "qwen3: tied": { architecture: "qwen3", tied: true },
};

test.each(Object.entries(variants))("%s", async (_, shape) => {
  const model = tinyModel(shape);
  const window = shape.slidingWindow ?? Number.POSITIVE_INFINITY;
  const expected = oracleLogits(model, tokens, { sinks: 0, window });
  for (const chunk of [1, 24]) {
    const engine = await loadEngine(model.bytes, { kv: "f32", chunk });
    expect(nmse(await logitsOf(engine, tokens), expected), `chunk ${chunk}`).toBeLessThan(ROUNDING);
    await engine.close();
  }
});

// Layers that slide, and layers that see all: pages of each kind are a group of their own.
test.each<[string, Pick<TinyShape, "slidingPattern">, readonly number[]]>([
  ["a period of 2", { slidingPattern: 2 }, [5, Infinity, 5, Infinity]],
  ["a period of 3", { slidingPattern: 3 }, [5, 5, Infinity, 5]],
  ["a list", { slidingPattern: [false, true, true, false] }, [Infinity, 5, 5, Infinity]],
])("a window a layer: %s", async (_, pattern, windows) => {
  const model = tinyModel({ layers: 4, slidingWindow: 5, ...pattern });
  const expected = oracleLogits(
    model,
    tokens,
    windows.map((window) => ({ sinks: 0, window })),
  );
  for (const options of [
    { chunk: 1 },
    { chunk: 24 },
    { chunk: 7, pageSize: 4, keys: "raw" },
  ] as const) {
    const engine = await loadEngine(model.bytes, { kv: "f32", ...options });
    const found = await logitsOf(engine, tokens);
    expect(nmse(found, expected), JSON.stringify(options)).toBeLessThan(ROUNDING);
    await engine.close();
  }
  const all = oracleLogits(model, tokens);
  expect(nmse(all, expected)).toBeGreaterThan(1e-3);
});

test("gemma2, whose layers slide in turn: token by token, in pieces, over raw keys", async () => {
  const { golden } = cases.find(({ name }) => name === "arch-gemma2")!;
  for (const options of [{ chunk: 1 }, { chunk: 7, pageSize: 4, keys: "raw" }] as const) {
    const { nmse } = await scoreCase(loadEngine, golden, { kv: "f32", ...options });
    expect(nmse, JSON.stringify(options)).toBeLessThan(ROUNDING);
  }
});

test("the oracle sees what a variant changes", () => {
  const plain = oracleLogits(tinyModel(), tokens);
  const seed = tinyModel();
  for (const [name, shape] of Object.entries({
    ropeFreqs: { ropeFreqs: [1, 1.5, 4, 8] },
    linear: { linear: 2 },
    attentionScale: { attentionScale: 0.125 },
  })) {
    const other = oracleLogits({ ...seed, shape: { ...seed.shape, ...shape } }, tokens);
    expect(nmse(other, plain), name).toBeGreaterThan(1e-3);
  }
  const window = oracleLogits(seed, tokens, { ...ALL, window: 5 });
  expect(nmse(window, plain)).toBeGreaterThan(1e-3);
});

/** The file as two, cut behind `first` tensors. */
function split(contents: GgufContents, first: number): [Uint8Array, Uint8Array] {
  const { metadata = [], tensors = [] } = contents;
  const shard = (number: number): MetadataEntry[] => [
    ["split.no", "u16", number],
    ["split.count", "u16", 2],
    ["split.tensors.count", "i32", tensors.length],
  ];
  return [
    writeGguf({ metadata: [...metadata, ...shard(0)], tensors: tensors.slice(0, first) }),
    writeGguf({ metadata: shard(1), tensors: tensors.slice(first) }),
  ];
}

test("a file in two parts gives the logits of the whole", async () => {
  const model = tinyModel();
  const whole = await loadEngine(model.bytes);
  const [one, two] = split(model.contents, 7);
  const files = { "m-00001-of-00002.gguf": one, "m-00002-of-00002.gguf": two };
  const parts = await loadShards(files);
  expect(await logitsOf(parts, tokens)).toEqual(await logitsOf(whole, tokens));
});

test("tensors in parts, and no features, give the same logits", async () => {
  const model = tinyModel({ width: 512, heads: 2, kvHeads: 1 });
  const options = { kv: "f32", chunk: 4, context: 24, pageSize: 8 } as const;
  const whole = await loadEngine(model.bytes, options);
  const refuse = ["subgroups", "shader-f16", "timestamp-query"] as const;
  const featureless = await loadEngine(model.bytes, { ...options, device: { refuse } });
  // 65536 bytes are 32 rows of 512 numbers: the embedding, the head and the feed-forward matrices come in two parts.
  const limits = { maxStorageBufferBindingSize: 65536 };
  const limited = await loadEngine(model.bytes, { ...options, device: { limits, refuse } });
  expect(limited.usage.buffers).toBe(featureless.usage.buffers + 2 + 2 * 3);
  const expected = await logitsOf(whole, tokens);
  expect(nmse(await logitsOf(limited, tokens), expected)).toBeLessThan(ROUNDING);
});
