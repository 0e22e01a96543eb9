// What llama.cpp computed, and how far ours may be from it (test/fixtures/README.md says how it was made).

import { readdirSync, readFileSync } from "node:fs";
import { type Engine, type EngineOptions, parseRope, type Score } from "../../src/index.ts";
import { findModel } from "./models.ts";

const folder = new URL("../fixtures/golden/", import.meta.url);

export interface GoldenCase {
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

export interface GreedyCase {
  readonly model: string;
  readonly prompt: string;
  readonly promptTokens: readonly number[];
  readonly tokens: readonly number[];
  readonly text: string;
}

const readJson = (name: string): unknown => JSON.parse(readFileSync(new URL(name, folder), "utf8"));

export const cases = readdirSync(folder)
  .filter((name) => name.endsWith(".json") && name !== "greedy.json")
  .map((name) => ({ name: name.replace(".json", ""), golden: readJson(name) as GoldenCase }));
export const greedy = readJson("greedy.json") as readonly GreedyCase[];

/** What is scored for a case: ours beside theirs. */
export interface Scored {
  readonly score: Score;
  readonly nmse: number;
  /** Distance of our two best logits, for every position. */
  readonly margins: readonly number[];
  /** Alive on the GPU: more where tensors are split. */
  readonly buffers: number;
}

/** Scores a case on an engine that `load` opens. */
export async function scoreCase(
  load: (path: string, options: EngineOptions) => Promise<Engine>,
  golden: GoldenCase,
  options: EngineOptions,
): Promise<Scored> {
  const { tokens, positions, vocab, flags } = golden;
  const rows = new Float32Array(readFileSync(new URL(golden.logits, folder)).buffer);
  if (rows.length !== positions.length * vocab) throw new Error(`${golden.logits}: wrong length`);
  const rope = flags && { rope: parseRope(flags[1]) };
  const engine = await load(findModel(golden.model)!, {
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

/** What is asked of all kinds of pages. The measured worst over all cases stands in brackets. */
export const TOLERANCES = {
  // Sums in another order than llama.cpp's: logits agree to 1e-6 of their size [NMSE 7e-12, nll 4e-4 after 2048 tokens
  // of unscaled positions, where softmax amplifies most]. The errors of positions cancel in the mean [5e-7].
  f32: { nmse: 1e-8, nll: 2e-3, perplexity: 1e-5 },
  // Keys and values are rounded to 11 bits, which llama.cpp's f32 cache does not do [5e-7, 5e-2, 5e-4].
  f16: { nmse: 1e-6, nll: 0.15, perplexity: 2e-3 },
  // And here to eight and to four bits, of heads of 32 and 64 numbers in models of a few million parameters and of random
  // weights: what quantising costs, not how well it is done, which test/engine/kv-types.test.ts compares with f64
  // [q8_0: 3e-4, 1.4, 1e-2; q4_0: 7e-2, 9.8, 0.67 (0.3 but for yarn:4 and one of random weights)].
  q8_0: { nmse: 1e-3, nll: 3, perplexity: 2e-2 },
  q4_0: { nmse: 0.15, nll: 15, perplexity: 0.8 },
} as const;

/** Nearer than this, two best logits may change places by rounding alone. */
export const NEAR_TIE = 1e-3;
