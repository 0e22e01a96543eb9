// What happens to a stream that outgrows the model? StreamingLLM's figure: perplexity, time a token
// and bytes of cache along the stream, under a policy.           Xiao et al. 2024, arXiv:2309.17453

import { pageBytes } from "../../context/cache/kv-cache.ts";
import {
  type AttentionOptions,
  attentionPolicy,
} from "../../context/positions/attention-policy.ts";
import type { Engine } from "../../engine/engine.ts";
import type { EngineOptions } from "../../engine/options.ts";
import { LAST_LOGITS } from "../../engine/run/step.ts";
import { logSumExp } from "../../engine/sampler/softmax.ts";
import { prefill } from "../../engine/tasks/prefill.ts";
import { perplexity } from "../../engine/tasks/score.ts";
import { median } from "../../numbers.ts";
import type { Watch } from "../watch.ts";
import type { OpenEngine } from "./sweep.ts";

/** A policy of the cache, or a sliding window that is recomputed from scratch for every token. */
export interface StreamMode {
  readonly name: string;
  readonly attention: AttentionOptions;
  /** W of recompute:W */
  readonly recompute?: number;
}

export interface StreamSetting {
  /** Length of the stream. */
  readonly tokens: number;
  /** Stretches that figures are given for. */
  readonly parts: number;
  /** Under recompute, tokens from one that is predicted to the next. */
  readonly every: number;
}

/** One stretch of the stream. */
export interface StreamPart {
  /** Position after the stretch. */
  readonly position: number;
  readonly perplexity: number;
  readonly msPerToken: number;
  readonly cacheBytes: number;
}

export interface StreamRun {
  readonly policy: string;
  readonly perplexity: number;
  /** Once every cache of the comparison is full: what an ablation compares. */
  readonly steadyPerplexity: number;
  readonly parts: readonly StreamPart[];
}

/** Streams the same ids, one more than the stream is long, under one mode after the other. */
export async function compareStreams(
  open: OpenEngine,
  ids: readonly number[],
  modes: readonly StreamMode[],
  setting: StreamSetting,
  { onProgress, signal }: Watch = {},
): Promise<StreamRun[]> {
  const { tokens } = setting;
  const steadyFrom = Math.max(0, ...modes.map(reach).filter((reach) => reach < tokens));
  const total = modes.length * tokens;
  onProgress?.(0, total);
  const runs: StreamRun[] = [];
  for (const mode of modes) {
    const before = runs.length * tokens;
    const watch: Watch = { onProgress: (done) => onProgress?.(before + done, total), signal };
    const engine = await open(neededBy(mode, tokens));
    try {
      runs.push(await stream(engine, mode, ids, { ...setting, steadyFrom }, watch));
    } finally {
      await engine.close();
    }
    if (signal?.aborted) break;
  }
  return runs;
}

/** The most tokens that a mode ever looks back on. */
function reach({ attention, recompute }: StreamMode): number {
  const { sinks, window } = attentionPolicy(attention);
  return recompute ?? sinks + window;
}

/**
 * Full attention needs a context as long as the stream; the others never hold more than they see.
 */
function neededBy({ attention, recompute }: StreamMode, tokens: number): EngineOptions {
  return { attention, context: attention.kind === "full" ? (recompute ?? tokens) : undefined };
}

async function stream(
  engine: Engine,
  { name, recompute }: StreamMode,
  ids: readonly number[],
  { tokens, parts: count, every, steadyFrom }: StreamSetting & { readonly steadyFrom: number },
  { onProgress, signal }: Watch,
): Promise<StreamRun> {
  const { cache } = engine.setting;
  const bytesOfPage = engine.config.layers * pageBytes(cache.shape);
  const sequence = engine.sequence();
  const parts: StreamPart[] = [];
  const all: number[] = [];
  const steady: number[] = [];
  let nll: number[] = [];
  let ms: number[] = [];
  for (let i = 0; i < tokens && !signal?.aborted; i++) {
    const skipped = recompute !== undefined && i % every !== 0;
    if (!skipped) {
      const began = performance.now();
      if (recompute !== undefined) sequence.clear();
      const pending = recompute === undefined ? [ids[i]!] : slidden(ids, i, recompute);
      const logits = await prefill(engine, sequence, pending, LAST_LOGITS);
      ms.push(performance.now() - began);
      const surprise = logSumExp(logits) - logits[ids[i + 1]!]!;
      nll.push(surprise);
      if (i >= steadyFrom) steady.push(surprise);
      onProgress?.(i + 1, tokens);
    }
    if (Math.floor(((i + 1) * count) / tokens) > parts.length && nll.length > 0) {
      const cacheBytes = sequence.entries.length * bytesOfPage;
      parts.push({
        position: i + 1,
        perplexity: perplexity(nll),
        msPerToken: median(ms),
        cacheBytes,
      });
      all.push(...nll);
      [nll, ms] = [[], []];
    }
  }
  sequence.clear();
  return { policy: name, perplexity: perplexity(all), steadyPerplexity: perplexity(steady), parts };
}

/** The first token, and those of the last `width - 1` up to position `i` that come after it. */
function slidden(ids: readonly number[], i: number, width: number): number[] {
  return i === 0 ? [ids[0]!] : [ids[0]!, ...ids.slice(Math.max(1, i + 2 - width), i + 1)];
}
