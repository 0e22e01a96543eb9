// What does the cache buy, and does it change the result? The same tokens are decoded with it,
// without it, and under windows; each step is timed, and the logits of every step are compared.

import { pageBytes } from "../../context/cache/kv-cache.ts";
import { type AttentionPolicy, attentionPolicy } from "../../context/positions/attention-policy.ts";
import type { Engine } from "../../engine/engine.ts";
import {
  type GenerateOptions,
  prepareGeneration,
} from "../../engine/generation/generation-request.ts";
import type { OpenedModel } from "../../engine/model/opened-model.ts";
import { LAST_LOGITS } from "../../engine/run/step.ts";
import { prefill } from "../../engine/tasks/prefill.ts";
import { median, nmse } from "../../numbers.ts";
import { type Growth, growth } from "./growth.ts";

/** One way of decoding the same tokens. */
interface Mode {
  readonly name: string;
  readonly policy: AttentionPolicy;
  readonly cached: boolean;
}

/** What was measured of it. */
interface Decoded extends Mode {
  readonly ms: readonly number[];
  readonly bytes: readonly number[];
  readonly logits: readonly Float32Array[];
}

export interface CacheRun {
  readonly mode: string;
  readonly tokensPerSecond: number;
  readonly msFirst: number;
  readonly msLast: number;
  readonly cacheBytes: number;
  readonly growth: Growth;
  /**
   * Normalised error of the logits against the same policy recomputed; none for the recomputed ones
   * themselves.
   */
  readonly nmse: number | null;
  /** Milliseconds and bytes of cache held, by position. */
  readonly ms: readonly number[];
  readonly bytes: readonly number[];
}

/** Throws a `UserError` if a model cannot continue a prompt by that many tokens. */
export function checkCaching(model: OpenedModel, prompt: string, tokens: number): void {
  prepareGeneration(model, prompt, greedy(tokens));
}

/**
 * Continues a prompt by `tokens` tokens, and then decodes these under full attention and each of
 * `policies`, with the cache and recomputed. `promptTokens` is the position of the first.
 */
export async function compareCaching(
  engine: Engine,
  prompt: string,
  tokens: number,
  policies: readonly AttentionPolicy[],
): Promise<{ readonly promptTokens: number; readonly runs: readonly CacheRun[] }> {
  const continued = await engine.complete(prompt, greedy(tokens)); // warms up, too
  const ids = engine.tokenize(prompt);
  const modes = [attentionPolicy({ kind: "full" }), ...policies].flatMap((policy) => [
    { name: `${policy.name}, cached`, policy, cached: true },
    { name: `${policy.name}, recomputed`, policy, cached: false },
  ]);
  const decoded: Decoded[] = [];
  for (const mode of modes) decoded.push(await decode(engine, ids, continued.tokens, mode));
  const runs = decoded.map((one) => summarise(one, decoded, ids.length));
  return { promptTokens: ids.length, runs };
}

function greedy(maxTokens: number): GenerateOptions {
  return { maxTokens, temperature: 0, ignoreEos: true };
}

/** Feeds given tokens one at a time, with the cache or with everything recomputed. */
async function decode(
  engine: Engine,
  prompt: readonly number[],
  tokens: readonly number[],
  mode: Mode,
): Promise<Decoded> {
  const { cache } = engine.setting;
  const bytesOfPage = engine.config.layers * pageBytes(cache.shape);
  const sequence = engine.sequence(mode.policy);
  const run = { ms: [] as number[], bytes: [] as number[], logits: [] as Float32Array[] };
  const ids = [...prompt];
  await prefill(engine, sequence, ids, LAST_LOGITS);
  for (const token of tokens) {
    ids.push(token);
    if (!mode.cached) sequence.clear();
    const began = performance.now();
    run.logits.push(await prefill(engine, sequence, mode.cached ? [token] : ids, LAST_LOGITS));
    run.ms.push(performance.now() - began);
    run.bytes.push(mode.cached ? sequence.entries.length * bytesOfPage : 0);
  }
  sequence.clear();
  return { ...mode, ...run };
}

function summarise(
  { name, policy, cached, ms, bytes, logits }: Decoded,
  all: readonly Decoded[],
  first: number,
): CacheRun {
  const positions = ms.map((_, i) => first + i);
  const ends = Math.max(1, Math.floor(ms.length / 10));
  const oracle = all.find((other) => other.policy === policy && !other.cached)!;
  return {
    mode: name,
    tokensPerSecond: 1000 / median(ms),
    msFirst: median(ms.slice(0, ends)),
    msLast: median(ms.slice(-ends)),
    cacheBytes: Math.max(...bytes),
    growth: growth(positions, ms),
    nmse: cached ? nmse(flat(logits), flat(oracle.logits)) : null,
    ms,
    bytes,
  };
}

/** Rows, one behind the other. */
function flat(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return all;
}
