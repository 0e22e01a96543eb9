// What distinguishes layers, as values: what the files of each architecture give, and that nothing else asks for names.

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { GgufError, openGguf } from "../../src/engine/gguf/gguf.ts";
import type { MetadataValue } from "../../src/engine/gguf/metadata.ts";
import { readConfig } from "../../src/engine/model/config.ts";
import type { Rotation } from "../../src/engine/model/rotation.ts";
import { cacheGroups, headShape, type LayerTraits } from "../../src/engine/model/traits.ts";
import { openFile } from "../../src/platform/file.ts";
import { bytesOpener } from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";
import { type TinyShape, tinyModel } from "../support/tiny-model.ts";

/** The configuration of a tiny model of 4 layers, with some keys of its architecture set. */
async function configOf(
  shape: Partial<TinyShape>,
  keys: Readonly<Record<string, MetadataValue>> = {},
) {
  const model = tinyModel({ layers: 4, ...shape });
  const file = await openGguf("tiny.gguf", bytesOpener({ "tiny.gguf": model.bytes }));
  const metadata = new Map(file.metadata);
  for (const [name, value] of Object.entries(keys)) {
    metadata.set(`${model.shape.architecture}.${name}`, value);
  }
  await file.close();
  return readConfig({ ...file, metadata });
}

const ROTATION: Rotation = {
  width: 8,
  pairs: "neighbours",
  base: 10000,
  scaling: { kind: "none" },
  originalContext: 64,
  attentionFactor: 1,
  temperature: undefined,
};
const LLAMA: LayerTraits = {
  branchNorms: "before",
  parallel: false,
  headNorms: undefined,
  normsRotated: false,
  rotation: ROTATION,
  window: Number.POSITIVE_INFINITY,
  ahead: 0,
  scoreScale: 1 / Math.sqrt(8),
  scoreCap: undefined,
  activation: "silu",
  gated: true,
};
const HALVES = { ...ROTATION, pairs: "halves" } as const;

describe("the traits of a layer", () => {
  test.each<[string, Partial<TinyShape>, Partial<LayerTraits>]>([
    ["llama", {}, {}],
    ["qwen2", { architecture: "qwen2", biases: "qkv" }, { rotation: HALVES }],
    ["qwen3", { architecture: "qwen3" }, { rotation: HALVES, headNorms: "heads" }],
    ["a sliding window", { slidingWindow: 5 }, { window: 5 }],
    ["an attention scale", { attentionScale: 0.125 }, { scoreScale: 0.125 }],
    [
      "linear scaling",
      { linear: 2 },
      { rotation: { ...ROTATION, scaling: { kind: "linear", factor: 2 } } },
    ],
    ["wide heads", { headWidth: 16 }, { rotation: { ...ROTATION, width: 16 }, scoreScale: 1 / 4 }],
  ])("of %s", async (_, shape, differences) => {
    const { traits, rope } = await configOf(shape);
    expect(traits).toEqual(new Array(4).fill({ ...LLAMA, ...differences }));
    for (const { rotation } of traits) expect(rotation).toBe(rope);
  });

  test("give attention its pairs and its scale", async () => {
    const shape = { heads: 4, kvHeads: 2, headWidth: 8, pageSize: 16, kvType: "f16" } as const;
    for (const [architecture, pairGap] of [
      ["llama", 1],
      ["qwen2", 4],
    ] as const) {
      const { traits } = await configOf({ architecture, attentionScale: 0.125 });
      expect(headShape(shape, traits[0]!)).toEqual({ ...shape, pairGap, scale: 0.125, ahead: 0 });
    }
  });
});

describe("of a Gemma 2", () => {
  /** The configuration of the fixture, without some keys and with others. */
  async function configWith(keys: Readonly<Record<string, MetadataValue | undefined>>) {
    const file = await openGguf(fixtureModel("gemma2-F16.gguf"), openFile);
    const metadata = new Map(file.metadata);
    for (const [name, value] of Object.entries(keys)) {
      if (value === undefined) metadata.delete(`gemma2.${name}`);
      else metadata.set(`gemma2.${name}`, value);
    }
    await file.close();
    return readConfig({ ...file, metadata });
  }
  const shared = {
    branchNorms: "both",
    headNorms: undefined,
    activation: "gelu",
    scoreScale: 1 / 4,
  };

  test("what the file says", async () => {
    const { traits, embeddingScale, logitCap } = await configWith({});
    expect(traits.map(({ window }) => window)).toEqual([8, Infinity, 8, Infinity]);
    for (const trait of traits) expect(trait).toMatchObject({ ...shared, scoreCap: 5 });
    expect({ embeddingScale, logitCap }).toEqual({ embeddingScale: 8, logitCap: 6 });
  });

  test("what a file leaves out", async () => {
    const caps = ["attn_logit_softcapping", "final_logit_softcapping"] as const;
    const { traits, logitCap } = await configWith({
      "attention.sliding_window": undefined,
      [caps[0]]: undefined,
      [caps[1]]: undefined,
    });
    expect(traits.map(({ window }) => window)).toEqual([4096, Infinity, 4096, Infinity]);
    for (const trait of traits) expect(trait).toMatchObject({ ...shared, scoreCap: 50 });
    expect(logitCap).toBe(30);
  });

  test("no cap, a cap that is none, and the scale of the largest", async () => {
    const { traits, logitCap } = await configWith({
      attn_logit_softcapping: 0,
      final_logit_softcapping: 0,
      block_count: 46,
      "attention.key_length": 8,
      "attention.value_length": 8,
      "rope.dimension_count": 8,
    });
    expect(traits[45]).toMatchObject({ scoreCap: undefined, scoreScale: 1 / Math.sqrt(64 / 4) });
    expect(logitCap).toBeUndefined();
    await expect(configWith({ attn_logit_softcapping: -1 })).rejects.toThrow(
      "gemma2.attn_logit_softcapping must be from 0.001 to 1000000, found -1",
    );
  });
});

describe("a window a layer", () => {
  const window = (keys: Readonly<Record<string, MetadataValue>>) =>
    configOf({ slidingWindow: 5 }, keys).then(({ traits }) => traits.map(({ window }) => window));
  const pattern = "attention.sliding_window_pattern";

  // llama.cpp v0.4.0: a period of 0 slides everywhere, one of 1 nowhere.
  test.each<[string, MetadataValue, number]>([
    ["a period of 0", 0, 5],
    ["a period of 1", 1, Number.POSITIVE_INFINITY],
    ["a period beyond the layers", 5, 5],
    ["all that slide", [true, true, true, true], 5],
    ["none that slides", [false, false, false, false], Number.POSITIVE_INFINITY],
  ])("%s", async (_, value, expected) => {
    expect(await window({ [pattern]: value })).toEqual(new Array(4).fill(expected));
  });

  test("a period of 2, and a list", async () => {
    expect(await window({ [pattern]: 2 })).toEqual([5, Infinity, 5, Infinity]);
    const listed = [true, false, false, true];
    expect(await window({ [pattern]: listed })).toEqual([5, Infinity, Infinity, 5]);
  });

  test("a pattern without a window hides nothing", async () => {
    const { traits } = await configOf({}, { [pattern]: [true, false, true, false] });
    expect(traits).toEqual(new Array(4).fill(LLAMA));
  });

  test.each<[string, MetadataValue]>([
    ["too few layers", [true, true, true]],
    ["a negative period", -1],
    ["a string", "alternating"],
  ])("%s is refused with the key's name", async (_, value) => {
    const refused = window({ [pattern]: value });
    await expect(refused).rejects.toThrow(GgufError);
    await expect(refused).rejects.toThrow(`llama.${pattern}`);
  });
});

describe("layers that see alike", () => {
  const groups = (...windows: number[]) =>
    cacheGroups(windows.map((window) => ({ window, ahead: 0, rotation: ROTATION }))).map(
      ({ window, layers }) => ({ window, layers }),
    );

  test("share a cache group", () => {
    expect(groups(Infinity, Infinity, Infinity)).toEqual([{ window: Infinity, layers: [0, 1, 2] }]);
    // Gemma 3: five sliding layers, then a full one; the seventh begins again.
    expect(groups(512, 512, 512, 512, 512, Infinity, 512, 512)).toEqual([
      { window: 512, layers: [0, 1, 2, 3, 4, 6, 7] },
      { window: Infinity, layers: [5] },
    ]);
    expect(groups(Infinity, 4, 8, 4)).toEqual([
      { window: Infinity, layers: [0] },
      { window: 4, layers: [1, 3] },
      { window: 8, layers: [2] },
    ]);
    expect(groups()).toEqual([]);
  });
});

test("one file of the engine names architectures", () => {
  const engine = fileURLToPath(new URL("../../src/engine", import.meta.url));
  // A tokenizer's names are those of vocabularies, a few of which are called as a model is.
  const files = readdirSync(engine, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && !file.startsWith("tokenizer"),
  );
  const name = /["'`](llama|qwen2|qwen3)["'`.]|^\s*(llama|qwen2|qwen3):/m;
  const naming = files.filter((file) => name.test(readFileSync(`${engine}/${file}`, "utf8")));
  expect(naming).toEqual(["model/architectures.ts"]);
});
