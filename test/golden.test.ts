// The engine against llama.cpp: logits, likelihoods, likeliest tokens and greedy texts of every golden case
// (test/fixtures/README.md says how they were computed).

import { describe, expect, test } from "vitest";
import { Engine } from "../src/engine/engine.ts";
import { openModel } from "../src/engine/model/open.ts";
import type { EngineOptions } from "../src/index.ts";
import { KV_FORMATS, KV_TYPES, type KvType } from "../src/kernels/attention/kv-types.ts";
import type { DeviceOptions } from "../src/kernels/gpu/device.ts";
import { nodePlatform } from "../src/platform/node.ts";
import { loadEngine, sharingPlatform } from "./support/engine.ts";
import {
  cases,
  type GoldenCase,
  greedy,
  NEAR_TIE,
  scoreCase as scoreOn,
  TOLERANCES,
} from "./support/golden.ts";
import { LOWEST_RUNG } from "./support/gpu.ts";
import { ownShape, withMatrices } from "./support/matrices.ts";
import { findModel, warnNotRun } from "./support/models.ts";

const scoreCase = (golden: GoldenCase, options: EngineOptions) =>
  scoreOn(loadEngine, golden, options);

const ownMatrices = (await ownShape()) !== undefined;
const here = (file: { readonly model: string }) => findModel(file.model) !== undefined;
const missing = cases.filter(({ golden }) => !here(golden));
const runs = (
  await Promise.all(
    cases
      .filter(({ golden }) => here(golden))
      .map(async (run) => (await cellTypes(run.golden)).map((kv) => ({ ...run, kv }))),
  )
).flat();

/** The kv types that the heads of a model are whole blocks of. */
async function cellTypes({ model }: GoldenCase): Promise<KvType[]> {
  const { config, file } = await openModel(findModel(model)!, nodePlatform.openFile);
  await file.close();
  return KV_TYPES.filter((kv) => config.headWidth % KV_FORMATS[kv].blockNumbers === 0);
}

test("every golden case is run, or named on stderr", () => {
  expect(cases.length).toBe(38);
  // Those whose models are in the repository; of the quantised, those whose heads are multiples of 32.
  for (const [kv, least] of Object.entries({ f32: 22, f16: 22, q8_0: 14, q4_0: 14 })) {
    expect(runs.filter((run) => run.kv === kv).length, kv).toBeGreaterThanOrEqual(least);
  }
  warnNotRun(
    "golden cases",
    missing.map(({ name }) => name),
  );
  warnNotRun(
    "greedy texts",
    greedy.filter((run) => !here(run)).map(({ model, prompt }) => `${model} "${prompt}"`),
  );
});

describe.each(runs)("$name, $kv pages", ({ golden, kv }) => {
  test("logits, likelihoods and likeliest tokens are llama.cpp's", async () => {
    const { score, nmse, margins } = await scoreCase(golden, { kv });
    const tolerance = TOLERANCES[kv];
    expect(nmse).toBeLessThanOrEqual(tolerance.nmse);

    expect(score.nll.length).toBe(golden.nll.length);
    const worst = Math.max(...score.nll.map((value, i) => Math.abs(value - golden.nll[i]!)));
    expect(worst, "nll").toBeLessThanOrEqual(tolerance.nll);
    const ratio = score.perplexity / golden.perplexity;
    expect(Math.abs(ratio - 1), "perplexity").toBeLessThanOrEqual(tolerance.perplexity);

    expect(score.argmax.length).toBe(golden.argmax.length);
    if (kv === "f32") {
      const swapped = golden.argmax.flatMap((id, position) =>
        score.argmax[position] !== id && margins[position]! > NEAR_TIE ? [position] : [],
      );
      expect(swapped, "positions with another argmax").toEqual([]);
    }
  });
});
for (const { name } of missing) test.skip(`${name}: its model is not here`);

describe.each(greedy.filter(here))("$model: $prompt", (golden) => {
  test.each(["f32", "f16"] as const)("continues as in llama.cpp, %s pages", async (kv) => {
    const engine = await loadEngine(findModel(golden.model)!, { kv, context: 256 });
    expect(engine.tokenize(golden.prompt)).toEqual(golden.promptTokens);
    const options = { temperature: 0, maxTokens: golden.tokens.length };
    const result = await engine.complete(golden.prompt, options);
    expect(result.tokens).toEqual(golden.tokens);
    expect(result.text).toBe(golden.text);
    await engine.close();
  });
});

/** Half an embedding of the models that climb. */
const SPLITTING = 1 << 17;

/** What adapters can do, and less: features refused and limits lowered when the device is opened. */
const RUNGS: Readonly<Record<string, DeviceOptions>> = {
  "no subgroups": { refuse: ["subgroups"] },
  "no f16": { refuse: ["shader-f16"] },
  "16 KiB of workgroup memory": { limits: { maxComputeWorkgroupStorageSize: 16384 } },
  "8 storage buffers": { limits: { maxStorageBuffersPerShaderStage: 8 } },
  "bindings that split the embedding": { limits: { maxStorageBufferBindingSize: SPLITTING } },
  "all that WebGPU guarantees, and no more": LOWEST_RUNG,
};

// GQA with neighbouring pairs, and halves with norms of heads: all kernels but the other weight formats.
const climbers = ["arch-llama-gqa", "arch-qwen3-qknorm"];
describe.each(Object.entries(RUNGS))("with %s", (_, device) => {
  test.each(cases.filter(({ name }) => climbers.includes(name)))(
    "the logits of $name are the same, of many tokens at a time and of one",
    async ({ golden }) => {
      const splits = device.limits?.maxStorageBufferBindingSize === SPLITTING;
      for (const chunk of [16, 1]) {
        for (const kv of ["q8_0", "q4_0"] as const) {
          const { nmse } = await scoreCase(golden, { kv, chunk, device });
          expect(nmse, kv).toBeLessThanOrEqual(TOLERANCES[kv].nmse);
        }
        const { nmse, buffers } = await scoreCase(golden, { kv: "f32", chunk, device });
        expect(nmse).toBeLessThanOrEqual(TOLERANCES.f32.nmse);
        if (!splits) continue;
        const whole = await scoreCase(golden, { kv: "f32", chunk });
        expect(buffers).toBeGreaterThan(whole.buffers);
      }
    },
  );
});

describe.each([
  ["imitated", false],
  ["the adapter's own", true],
] as const)("with subgroup matrices, %s", (_, own) => {
  test.skipIf(own && !ownMatrices).each(cases.filter(({ name }) => climbers.includes(name)))(
    "the logits of $name are the same, of many tokens at a time",
    async ({ golden }) => {
      const pages: string[] = [];
      const platform = withMatrices(sharingPlatform, own);
      const shaders = (name: string) => {
        pages.push(name);
        return platform.shaders(name);
      };
      const load = async (path: string, options: EngineOptions) =>
        Engine.open(
          { ...platform, shaders },
          await openModel(path, nodePlatform.openFile),
          options,
        );
      const { nmse } = await scoreOn(load, golden, { kv: "f32", chunk: 16 });
      expect(nmse).toBeLessThanOrEqual(TOLERANCES.f32.nmse);
      expect(pages).toContain("matrix/matmul-matrices");
      expect(pages).not.toContain("matmul");
    },
  );
});
if (!ownMatrices) {
  console.warn("SKIPPED: golden logits by subgroup matrices of this adapter, which has none.");
}
