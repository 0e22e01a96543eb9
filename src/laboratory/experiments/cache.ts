// What does the cache buy, and does it change the result? The same tokens are decoded with it, without it, and under
// windows; each step is timed, and the logits of every step are compared.

import { pageBytes } from "../../context/cache/kv-cache.ts";
import type { AttentionPolicy } from "../../context/positions/attention-policy.ts";
import type { Engine } from "../../engine/engine.ts";
import { LAST_LOGITS } from "../../engine/run/step.ts";
import { prefill } from "../../engine/tasks/prefill.ts";
import { median, nmse } from "../../numbers.ts";
import { type Growth, growth } from "./growth.ts";

/** One way of decoding the same tokens. */
export interface Mode {
  readonly name: string;
  readonly policy: AttentionPolicy;
  readonly cached: boolean;
}

export interface Run extends Mode {
  /** Milliseconds and bytes of cache held, by position. */
  readonly ms: readonly number[];
  readonly bytes: readonly number[];
  readonly logits: readonly Float32Array[];
}

/** Feeds given tokens one at a time, with the cache or with everything recomputed. */
export async function decode(
  engine: Engine,
  prompt: readonly number[],
  tokens: readonly number[],
  mode: Mode,
): Promise<Run> {
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

export interface Row {
  readonly mode: string;
  readonly tokensPerSecond: number;
  readonly msFirst: number;
  readonly msLast: number;
  readonly cacheBytes: number;
  readonly growth: Growth;
  /** Normalised error of the logits against the same policy recomputed; none for the recomputed ones themselves. */
  readonly nmse: number | null;
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

export function summarise(run: Run, runs: readonly Run[], first: number): Row {
  const positions = run.ms.map((_, i) => first + i);
  const ends = Math.max(1, Math.floor(run.ms.length / 10));
  const oracle = runs.find(({ policy, cached }) => policy === run.policy && !cached)!;
  return {
    mode: run.name,
    tokensPerSecond: 1000 / median(run.ms),
    msFirst: median(run.ms.slice(0, ends)),
    msLast: median(run.ms.slice(-ends)),
    cacheBytes: Math.max(...run.bytes),
    growth: growth(positions, run.ms),
    nmse: run.cached ? nmse(flat(run.logits), flat(oracle.logits)) : null,
  };
}
