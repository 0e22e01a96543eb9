// What a model of each family is planned to take is what it then takes.

import { describe, expect, test } from "vitest";
import { openModel, planMemory } from "../../src/engine/model/open.ts";
import type { EngineOptions } from "../../src/index.ts";
import { bytesOpener, loadEngine } from "../support/engine.ts";
import { familyModel } from "../support/families/model.ts";
import { FAMILIES, FAMILY_NAMES, type FamilyName } from "../support/families/recipes.ts";

async function plan(name: FamilyName, options: EngineOptions) {
  const opener = bytesOpener({ [name]: familyModel(FAMILIES[name]) });
  const { file, config } = await openModel(name, opener);
  await file.close();
  return planMemory(file, config, options);
}

describe.each(FAMILY_NAMES)("%s", (name) => {
  test.each<[string, EngineOptions]>([
    ["a short context", { context: 64, chunk: 32 }],
    ["a long one, small pages, sinks", { context: 256, pageSize: 4, attention: "sinks:4+60" }],
  ])("%s", async (_, options) => {
    const own = { ...FAMILIES[name].options, kv: "f32", ...options } as const;
    const { total, weights } = await plan(name, own);
    await using engine = await loadEngine(familyModel(FAMILIES[name]), own);
    expect(total).toBe(engine.usage.bytes);
    expect(weights).toBe(engine.loaded.weightBytes);
  });
});

/** Bytes of a token in a layer: keys and values of two heads of 32 numbers, in f32. */
const TOKEN_BYTES = 2 * 2 * 32 * 4;

test.each<[FamilyName, sliding: number, full: number]>([
  ["gemma2", 2, 2],
  ["gemma3", 6, 1],
  ["olmo3", 4, 1],
  ["cohere2", 4, 1],
  ["exaone4-64", 48, 16],
])(
  "%s: a longer context costs the layers that see all of it, and no other",
  async (name, sliding, full) => {
    const options = { kv: "f32", chunk: 16, pageSize: 16, prefixes: false, sequences: 1 } as const;
    const short = await plan(name, { ...options, context: 96 });
    const long = await plan(name, { ...options, context: 256 });
    const grown = (long.cache - short.cache) / (160 * TOKEN_BYTES);
    // Page tables and rotations grow, too: by a few numbers a token.
    expect(grown).toBeGreaterThanOrEqual(full);
    expect(grown).toBeLessThan(full + 1);
    const { config } = await openModel(name, bytesOpener({ [name]: familyModel(FAMILIES[name]) }));
    expect(config.traits.filter(({ window }) => window === 8).length).toBe(sliding);
    expect(config.layers).toBe(sliding + full);
  },
);
