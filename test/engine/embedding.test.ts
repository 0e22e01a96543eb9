// Hidden states of every layer against the forward pass in f64, and what is pooled of them against sums by hand.

import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { partsOf } from "../../src/context/cache/sequence.ts";
import { indexSetting } from "../../src/context/text/retrieval/text-index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { EmbedOptions } from "../../src/engine/tasks/embedding.ts";
import { UserError } from "../../src/errors.ts";
import { SHIPPED_MODEL } from "../../src/platform/node.ts";
import { loadEngine } from "../support/engine.ts";
import { writeGguf } from "../support/gguf-writer.ts";
import { nmse, oracleStates } from "../support/oracle.ts";
import { TINY, TINY_TOKENS, type TinyShape, tinyModel } from "../support/tiny-model.ts";

/** f32 sums of some hundred products against f64: the differences that were measured are below 1e-12. */
const ROUNDING = 1e-10;

const T = 25;
const tokens = Array.from({ length: T }, (_, i) => (i * i * 7 + 3 * i) % TINY_TOKENS.length);

/** The hidden states [T, D] of a text, taken in steps as large as they may be. */
async function statesOf(engine: Engine, ids: readonly number[], depth: number) {
  const rows: number[] = [];
  const sequence = engine.sequence();
  for (const { tokens } of partsOf(ids, () => sequence.stepLimit)) {
    rows.push(...(await engine.run({ sequence, tokens, wanted: { kind: "hidden", depth } })));
  }
  sequence.clear();
  return rows;
}

const variants: Record<string, Partial<TinyShape>> = {
  llama: { layers: 3 },
  "rows that are no multiple of 32": {
    width: 36,
    heads: 6,
    kvHeads: 2,
    headWidth: 16,
    feedForward: 52,
  },
  "a bias for every matrix": { biases: "all" },
  "qwen3: norms of heads": { architecture: "qwen3", headWidth: 16 },
  "a sliding window": { slidingWindow: 5 },
};

describe.each(Object.entries(variants))("%s", (_, shape) => {
  const model = tinyModel(shape);
  const window = shape.slidingWindow ?? Number.POSITIVE_INFINITY;
  const expected = oracleStates(model, tokens, { sinks: 0, window });

  // 24 leaves a last step of one token.
  test.each([1, 24, 25])("hidden states of every layer, %i tokens a step", async (chunk) => {
    const engine = await loadEngine(model.bytes, { kv: "f32", chunk });
    for (const [layer, states] of expected.entries()) {
      const found = await statesOf(engine, tokens, layer);
      expect(nmse(found, states), `layer ${layer}`).toBeLessThan(ROUNDING);
    }
    await engine.close();
  });

  test("layers differ from each other far more than by rounding", () => {
    for (const [layer, states] of expected.entries()) {
      if (layer > 0) expect(nmse(expected[layer - 1]!, states)).toBeGreaterThan(1e-2);
    }
  });
});

describe("pooling", () => {
  const model = tinyModel({ layers: 3 });
  const D = TINY.width;
  const expected = oracleStates(model, tokens);
  let engine: Engine;
  beforeAll(async () => {
    engine = await loadEngine(model.bytes, { kv: "f32", chunk: 7 });
  });

  /** The rows of a layer that are no special token's: 0 and 1 are <s> and </s>. */
  function meanByHand(states: Float64Array): Float64Array {
    const rows = tokens.flatMap((id, t) => (id > 1 ? [states.subarray(t * D, (t + 1) * D)] : []));
    expect(rows.length).toBeLessThan(T);
    return Float64Array.from(
      { length: D },
      (_, i) => rows.reduce((sum, row) => sum + row[i]!, 0) / rows.length,
    );
  }
  const ofLengthOne = (vector: Float64Array) => {
    const length = Math.sqrt(vector.reduce((sum, value) => sum + value ** 2, 0));
    return vector.map((value) => value / length);
  };

  test.each([0, 1, 2, 3])("layer %i: mean and last, as they are and of length 1", async (layer) => {
    const states = expected[layer]!;
    const mean = meanByHand(states);
    const last = states.slice((T - 1) * D);
    const cases: [EmbedOptions, Float64Array][] = [
      [{ layer, normalize: false }, mean],
      [{ layer }, ofLengthOne(mean)],
      [{ layer, pooling: "last", normalize: false }, last],
      [{ layer, pooling: "last" }, ofLengthOne(last)],
    ];
    for (const [options, vector] of cases) {
      const found = await engine.embed(tokens, options);
      expect(found.length).toBe(D);
      expect(nmse(found, vector), JSON.stringify(options)).toBeLessThan(ROUNDING);
    }
  });

  test("the default is the mean of the last layer; a text is embedded with BOS as it is tokenised", async () => {
    const text = "abcd efg";
    const ids = engine.tokenize(text);
    expect(ids[0]).toBe(0);
    const vector = await engine.embed(text);
    expect(vector).toEqual(await engine.embed(ids, { pooling: "mean", layer: 3, normalize: true }));
    expect(nmse(await engine.embed(ids.slice(1)), vector)).toBeGreaterThan(1e-4);
  });

  test("many texts give what each gives by itself, and hold nothing afterwards", async () => {
    const texts = ["abcd", tokens, "a longer one of several steps", tokens.slice(0, 9)];
    const found: Float32Array[] = [];
    for (const text of texts) found.push(await engine.embed(text, { layer: 2 }));
    for (const [i, text] of texts.entries()) {
      expect(found[i]).toEqual(await engine.embed(text, { layer: 2 }));
    }
    expect(engine.usage.pages).toBe(0);
  });

  test("texts that are embedded at the same time do not disturb each other, nor a generation", async () => {
    const roomy = await loadEngine(model.bytes, { kv: "f32", chunk: 7, cacheTokens: 4096 });
    const options = { temperature: 0, maxTokens: 12, ignoreEos: true };
    const alone = await roomy.complete(tokens, options);
    const [first, together, second] = await Promise.all([
      roomy.embed(tokens, { layer: 1 }),
      roomy.complete(tokens, options),
      roomy.embed(tokens.slice(3), { layer: 3 }),
    ]);
    expect(first).toEqual(await engine.embed(tokens, { layer: 1 }));
    expect(second).toEqual(await engine.embed(tokens.slice(3), { layer: 3 }));
    expect(together.tokens).toEqual(alone.tokens);
    await roomy.close();
  });

  const mistakes: [string | number[], EmbedOptions, RegExp][] = [
    ["", {}, /nothing to embed: give some text/],
    [[], {}, /nothing to embed/],
    [[0, 1], {}, /nothing to embed/],
    [[3, 99], {}, /Token id 99 is none of the model's/],
    ["ab", { layer: 4 }, /Invalid layer 4: expected a whole number from 0 to 3/],
    ["ab", { layer: -1 }, /Invalid layer -1/],
    ["ab", { layer: 1.5 }, /Invalid layer 1.5/],
    ["ab", { pooling: "max" as "mean" }, /Invalid pooling "max": expected one of mean/],
    ["e".repeat(64), {}, /65 tokens exceed the context of 64: load with a larger one/],
  ];
  test.each(mistakes)("%j with %j is refused in one line", async (text, options, message) => {
    const refused = engine.embed(text, options);
    await expect(refused).rejects.toThrow(UserError);
    await expect(refused).rejects.toThrow(message);
    expect(engine.usage.pages).toBe(0);
  });

  test("a signal ends it between two steps, and the pages are given back", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(engine.embed(tokens, { signal })).rejects.toThrow("enough");
    expect(engine.usage.pages).toBe(0);
  });
});

test("the shipped model: what is alike in meaning is closer, and nothing is allocated for it", async () => {
  const engine = await loadEngine(SHIPPED_MODEL);
  const { buffers } = engine.usage;
  const vectors: Float32Array[] = [];
  const texts = [
    "The little dog ran in the park and played with a ball.",
    "A puppy was running outside and it had a ball to play with.",
    "Mom made a big cake and they ate it with milk at the table.",
  ];
  for (const text of texts) vectors.push(await engine.embed(text));
  const cosine = (a: number, b: number) =>
    vectors[a]!.reduce((sum, value, i) => sum + value * vectors[b]![i]!, 0);
  expect(cosine(0, 0)).toBeCloseTo(1, 6);
  expect(cosine(0, 1)).toBeGreaterThan(cosine(0, 2));
  expect(cosine(0, 1)).toBeGreaterThan(cosine(1, 2));
  expect(engine.usage.buffers).toBe(buffers);
});

describe("what a file says of pooling", () => {
  const { contents } = tinyModel({
    architecture: "qwen3",
    width: 64,
    heads: 2,
    kvHeads: 1,
    headWidth: 32,
  });
  const fixture = new URL("../fixtures/embedding/pooling.json", import.meta.url);
  const { text, vectors } = JSON.parse(readFileSync(fixture, "utf8"));
  const load = (type: number) => {
    const metadata = [...contents.metadata!, ["qwen3.pooling_type", "u32", type] as const];
    return loadEngine(writeGguf({ ...contents, metadata }), { kv: "f32" });
  };
  const cosine = (a: ArrayLike<number>, b: ArrayLike<number>) =>
    Array.from(a).reduce((sum, x, i) => sum + x * b[i]!, 0);

  test.each([
    [1, "mean", "mean-all"],
    [2, "cls", "cls"],
    [3, "last", "last"],
  ] as const)("type %i, %s, is what llama.cpp makes of it", async (type, name, pooling) => {
    const engine = await load(type);
    expect(cosine(await engine.embed(text), vectors[name])).toBeGreaterThan(1 - 1e-5);
    expect(await engine.embed(text)).toEqual(await engine.embed(text, { pooling }));
    // What is asked for by name comes first.
    for (const other of ["mean", "cls", "last"] as const) {
      if (other !== pooling)
        expect(cosine(await engine.embed(text, { pooling: other }), vectors[name])).toBeLessThan(
          0.995,
        );
    }
    expect(indexSetting(engine, {})).toMatchObject({ pooling, layer: 2, whiten: false });
    expect(indexSetting(engine, { pooling: "mean", whiten: true, layer: 1 })).toMatchObject({
      pooling: "mean",
      layer: 1,
      whiten: true,
    });
  });

  test("none asks for a name, and an index takes what it takes of any language model", async () => {
    const engine = await load(0);
    await expect(engine.embed(text)).rejects.toThrow(
      /qwen3.pooling_type 0\): name a pooling, one of mean, mean-all, cls, last/,
    );
    expect((await engine.embed(text, { pooling: "last" })).length).toBe(64);
    expect(indexSetting(engine, {})).toMatchObject({ pooling: "mean", layer: 1, whiten: true });
  });

  test("rank, and what is no type, are refused with the key's name", async () => {
    await expect(load(4)).rejects.toThrow(/qwen3.pooling_type 4 \(rank\) is not supported/);
    await expect(load(9)).rejects.toThrow(UserError);
  });
});
