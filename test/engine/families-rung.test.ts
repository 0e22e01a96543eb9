// Families on all that WebGPU guarantees, and no more: in test/golden.test.ts plain models climb all rungs, and here is
// what else layers do.

import { expect, test } from "vitest";
import { loadEngine } from "../support/engine.ts";
import { familyLogits, logitsOf, TOKENS } from "../support/families/golden.ts";
import { familyModel } from "../support/families/model.ts";
import { FAMILIES, type FamilyName } from "../support/families/recipes.ts";
import { LOWEST_RUNG } from "../support/gpu.ts";
import { nmse } from "../support/oracle.ts";

/** As in families.test.ts. */
const ROUNDING = 1e-10;

/**
 * Windows, caps and norms on both sides; LayerNorms with biases before two branches, and parts of heads; norms of whole
 * rows; norms after the rotation.
 */
const CLIMBERS: readonly FamilyName[] = ["gemma2", "phi2", "olmo2", "hunyuan-dense"];

test.each(CLIMBERS)(
  "%s: many tokens at a time, and one",
  async (name) => {
    const bytes = familyModel(FAMILIES[name]);
    const by = FAMILIES[name].gelu ? "f64" : "llama.cpp";
    for (const chunk of [16, 1]) {
      await using engine = await loadEngine(bytes, { kv: "f32", chunk, device: LOWEST_RUNG });
      const error = nmse(await logitsOf(engine, TOKENS), familyLogits(name, by));
      expect(error, `chunk ${chunk}`).toBeLessThanOrEqual(ROUNDING);
    }
  },
  300_000,
); // a minute of compiling on two busy cores
