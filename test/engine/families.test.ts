// The engine against llama.cpp on a tiny model of every family, however its tokens are computed and its cells are stored.
// That each switch of a family shows in these models is what family-switches.test.ts finds.

import { describe, expect, test } from "vitest";
import type { EngineOptions, StepReport } from "../../src/index.ts";
import { loadEngine } from "../support/engine.ts";
import { familyLogits, logitsOf, TOKENS } from "../support/families/golden.ts";
import { familyModel } from "../support/families/model.ts";
import { FAMILIES, FAMILY_NAMES, type FamilyName } from "../support/families/recipes.ts";
import { TOLERANCES } from "../support/golden.ts";
import { nmse } from "../support/oracle.ts";

/** f32 sums of some hundred products, ours and llama.cpp's, in another order: at most 7e-12 was measured. */
const ROUNDING = 1e-10;
/** llama.cpp's CPU takes GELU from a table of halves: 8e-8 was measured, and by its tables of other models 3e-6. */
const TABLE = 1e-5;

/** What the logits are to be, by those who computed them, and how near. */
function expected(name: FamilyName): { by: "llama.cpp" | "f64"; least: number }[] {
  const { gelu, notByLlamaCpp } = FAMILIES[name];
  if (notByLlamaCpp !== undefined) return [{ by: "f64", least: ROUNDING }];
  if (!gelu) return [{ by: "llama.cpp", least: ROUNDING }];
  return [
    { by: "llama.cpp", least: TABLE },
    { by: "f64", least: ROUNDING },
  ];
}

const load = (name: FamilyName, options: EngineOptions) =>
  loadEngine(familyModel(FAMILIES[name]), { ...FAMILIES[name].options, ...options });

/** The logits of a family's model under these options; they are as near to all that is known as they have to be. */
async function check(name: FamilyName, options: EngineOptions, least?: number): Promise<void> {
  await using engine = await load(name, options);
  const found = await logitsOf(engine, TOKENS);
  for (const known of expected(name)) {
    const error = nmse(found, familyLogits(name, known.by));
    expect(error, known.by).toBeLessThanOrEqual(Math.max(known.least, least ?? 0));
  }
}

describe.each(FAMILY_NAMES)("%s", (name) => {
  test.each<[string, EngineOptions]>([
    ["all tokens at once", { chunk: TOKENS.length }],
    ["token by token", { chunk: 1 }],
    ["in pieces, over raw keys in small pages", { chunk: 7, pageSize: 4, keys: "raw" }],
  ])("%s", (_, options) => check(name, { kv: "f32", ...options }));
});

/**
 * Random layers, one on the other, amplify what rounding a cell leaves, to 3e-6 with f16: these are held to f32. What they
 * do is done by cohere2 and stablelm-parallel as well.
 */
const DEEP: readonly FamilyName[] = ["smollm3", "smollm3-yarn4", "exaone4-64", "command-r-64"];

test.each(FAMILY_NAMES.filter((name) => !DEEP.includes(name)))("%s in pages of f16", (name) =>
  check(name, { kv: "f16", chunk: TOKENS.length }, TOLERANCES.f16.nmse),
);

/** Among these: neighbours and halves, parts of heads, norms of each kind on either side, caps, two rotations. */
const QUANTISED = [
  ...["llama", "gemma2", "gemma3", "phi3", "phi2"],
  ...["olmo3", "hunyuan-dense", "cohere2", "stablelm-parallel"],
] as FamilyName[];

describe.each(QUANTISED)("%s", (name) => {
  test.each(["q8_0", "q4_0"] as const)("in pages of %s", (kv) =>
    check(name, { kv, chunk: TOKENS.length }, TOLERANCES[kv].nmse),
  );
});

/** From 1 to 16 tokens a step, each row is summed in the same order: texts are the same to the bit. */
const SHALLOW = FAMILY_NAMES.filter((name) => FAMILIES[name].layers < 64);
test.each(SHALLOW)("%s: texts that share steps are as alone", async (name) => {
  const steps: StepReport[] = [];
  const onStep = (step: StepReport) => void steps.push(step);
  const sizes = { chunk: 16, pageSize: 4, cacheTokens: 512, prefixes: false };
  await using engine = await load(name, { kv: "f32", ...sizes, onStep });
  const ask = { temperature: 0, ignoreEos: true, maxTokens: 16, logprobs: 2 } as const;
  const text = async (prompt: readonly number[]) => {
    const { tokens, logprobs } = await engine.complete(prompt, ask);
    return { tokens, logprobs };
  };
  const prompts = [TOKENS.slice(0, 10), TOKENS.slice(20, 26)];
  const alone = [await text(prompts[0]!), await text(prompts[1]!)];
  steps.length = 0;
  expect(await Promise.all(prompts.map(text))).toEqual(alone);
  expect(steps.every(({ pieces }) => pieces.length === 2)).toBe(true);
});
