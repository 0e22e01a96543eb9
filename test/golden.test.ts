// The engine against llama.cpp: logits, likelihoods, likeliest tokens and greedy texts of every golden case
// (test/fixtures/README.md says how they were computed).

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type EngineOptions, parseRope, type Score } from "../src/index.ts";
import type { DeviceOptions } from "../src/kernels/device.ts";
import { loadEngine } from "./support/engine.ts";
import { findModel, warnNotRun } from "./support/models.ts";

const folder = new URL("./fixtures/golden/", import.meta.url);

interface GoldenCase {
  readonly model: string;
  readonly tokens: readonly number[];
  /** The rows of `logits`, [positions, vocab]. */
  readonly positions: readonly number[];
  readonly vocab: number;
  readonly logits: string;
  readonly nll: readonly number[];
  readonly argmax: readonly number[];
  readonly perplexity: number;
  /** What a user would type, such as ["--rope", "linear:2"]. */
  readonly flags?: readonly [string, string];
}

interface GreedyCase {
  readonly model: string;
  readonly prompt: string;
  readonly promptTokens: readonly number[];
  readonly tokens: readonly number[];
  readonly text: string;
}

const readJson = (name: string): unknown => JSON.parse(readFileSync(new URL(name, folder), "utf8"));

const cases = readdirSync(folder)
  .filter((name) => name.endsWith(".json") && name !== "greedy.json")
  .map((name) => ({ name: name.replace(".json", ""), golden: readJson(name) as GoldenCase }));
const greedy = readJson("greedy.json") as readonly GreedyCase[];

/** What is scored for a case: ours beside theirs. */
interface Scored {
  readonly score: Score;
  readonly nmse: number;
  /** Distance of our two best logits, for every position. */
  readonly margins: readonly number[];
  /** Alive on the GPU: more where tensors are split. */
  readonly buffers: number;
}

async function scoreCase(golden: GoldenCase, options: EngineOptions): Promise<Scored> {
  const { tokens, positions, vocab, flags } = golden;
  const rows = new Float32Array(readFileSync(new URL(golden.logits, folder)).buffer);
  expect(rows.length).toBe(positions.length * vocab);
  const rope = flags && { rope: parseRope(flags[1]) };
  const engine = await loadEngine(findModel(golden.model)!, {
    ...options,
    ...rope,
    context: tokens.length,
  });
  const margins: number[] = [];
  let squares = 0;
  let differences = 0;
  const score = await engine.score(tokens, (position, logits) => {
    margins.push(margin(logits));
    const row = positions.indexOf(position);
    if (row < 0) return;
    for (let i = 0; i < vocab; i++) {
      const theirs = rows[row * vocab + i]!;
      squares += theirs ** 2;
      differences += (logits[i]! - theirs) ** 2;
    }
  });
  const { buffers } = engine.usage;
  await engine.close();
  return { score, margins, buffers, nmse: differences / squares };
}

function margin(logits: Float32Array): number {
  let [best, second] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const logit of logits) {
    if (logit > best) [best, second] = [logit, best];
    else if (logit > second) second = logit;
  }
  return best - second;
}

/** What is asked of both kinds of pages. The measured worst over all cases stands in brackets. */
const TOLERANCES = {
  // Sums in another order than llama.cpp's: logits agree to 1e-6 of their size [NMSE 7e-12, nll 4e-4 after 2048 tokens
  // of unscaled positions, where softmax amplifies most]. The errors of positions cancel in the mean [5e-7].
  f32: { nmse: 1e-8, nll: 2e-3, perplexity: 1e-5 },
  // Keys and values are rounded to 11 bits, which llama.cpp's f32 cache does not do [5e-7, 5e-2, 5e-4].
  f16: { nmse: 1e-6, nll: 0.15, perplexity: 2e-3 },
} as const;

/** Nearer than this, two best logits may change places by rounding alone. */
const NEAR_TIE = 1e-3;

const here = (file: { readonly model: string }) => findModel(file.model) !== undefined;
const missing = cases.filter(({ golden }) => !here(golden));
const runs = cases
  .filter(({ golden }) => here(golden))
  .flatMap((run) => (["f32", "f16"] as const).map((kv) => ({ ...run, kv })));

test("every golden case is run, or named on stderr", () => {
  expect(cases.length).toBe(37);
  expect(runs.length).toBeGreaterThanOrEqual(2 * 21); // those whose models are in the repository
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

/** Rungs of the capability ladder: features refused and limits lowered when the device is opened. */
const RUNGS: Readonly<Record<string, DeviceOptions>> = {
  "no subgroups": { refuse: ["subgroups"] },
  "no f16": { refuse: ["shader-f16"] },
  "16 KiB of workgroup memory": { limits: { maxComputeWorkgroupStorageSize: 16384 } },
  "8 storage buffers": { limits: { maxStorageBuffersPerShaderStage: 8 } },
  "bindings that split the embedding": { limits: { maxStorageBufferBindingSize: SPLITTING } },
  "all that WebGPU guarantees, and no more": {
    refuse: ["subgroups", "shader-f16", "timestamp-query"],
    limits: {
      maxComputeWorkgroupStorageSize: 16384,
      maxStorageBuffersPerShaderStage: 8,
      maxComputeInvocationsPerWorkgroup: 256,
      maxComputeWorkgroupSizeX: 256,
      maxStorageBufferBindingSize: 128 << 20,
      maxBufferSize: 256 << 20,
    },
  },
};

// GQA with neighbouring pairs, and halves with norms of heads: all kernels but the other weight formats.
const climbers = ["arch-llama-gqa", "arch-qwen3-qknorm"];
describe.each(Object.entries(RUNGS))("with %s", (_, device) => {
  test.each(cases.filter(({ name }) => climbers.includes(name)))(
    "the logits of $name are the same, of many tokens at a time and of one",
    async ({ golden }) => {
      const splits = device.limits?.maxStorageBufferBindingSize === SPLITTING;
      for (const chunk of [16, 1]) {
        const { nmse, buffers } = await scoreCase(golden, { kv: "f32", chunk, device });
        expect(nmse).toBeLessThanOrEqual(TOLERANCES.f32.nmse);
        if (!splits) continue;
        const whole = await scoreCase(golden, { kv: "f32", chunk });
        expect(buffers).toBeGreaterThan(whole.buffers);
      }
    },
  );
});
