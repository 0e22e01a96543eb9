// What happens to a stream that outgrows the model?  StreamingLLM's figure: perplexity, time a token and bytes of
// cache along the stream, under a policy.                                          Xiao et al. 2024, arXiv:2309.17453

import { pageBytes } from "../../context/cache/kv-cache.ts";
import {
  type AttentionOptions,
  attentionPolicy,
} from "../../context/positions/attention-policy.ts";
import type { Engine } from "../../engine/engine.ts";
import { LAST_LOGITS } from "../../engine/run/step.ts";
import { logSumExp } from "../../engine/sampler/softmax.ts";
import { prefill } from "../../engine/tasks/prefill.ts";
import { perplexity } from "../../engine/tasks/score.ts";
import { median } from "../../numbers.ts";

/** A policy of the cache, or a sliding window that is recomputed from scratch for every token. */
export interface StreamMode {
  readonly name: string;
  readonly attention: AttentionOptions;
  /** W of recompute:W */
  readonly recompute?: number;
}

/** One stretch of the stream. */
export interface Part {
  /** Position after the stretch. */
  readonly position: number;
  readonly perplexity: number;
  readonly msPerToken: number;
  readonly cacheBytes: number;
}

export interface Run {
  readonly policy: string;
  readonly perplexity: number;
  /** Once every cache of the comparison is full: what an ablation compares. */
  readonly steadyPerplexity: number;
  readonly parts: readonly Part[];
}

/** The most tokens that a mode ever looks back on. */
export function reach({ attention, recompute }: StreamMode): number {
  const { sinks, window } = attentionPolicy(attention);
  return recompute ?? sinks + window;
}

export async function stream(
  engine: Engine,
  { name, recompute }: StreamMode,
  ids: readonly number[],
  steadyFrom: number,
  {
    tokens,
    parts: count,
    every,
  }: { readonly tokens: number; readonly parts: number; readonly every: number },
  onToken: (i: number) => void,
  signal: AbortSignal,
): Promise<Run> {
  const { cache } = engine.setting;
  const bytesOfPage = engine.config.layers * pageBytes(cache.shape);
  const sequence = engine.sequence();
  const parts: Part[] = [];
  const all: number[] = [];
  const steady: number[] = [];
  let nll: number[] = [];
  let ms: number[] = [];
  for (let i = 0; i < tokens && !signal.aborted; i++) {
    const skipped = recompute !== undefined && i % every !== 0;
    if (!skipped) {
      const began = performance.now();
      let pending: readonly number[] = [ids[i]!];
      if (recompute !== undefined) {
        sequence.clear();
        const rest = ids.slice(Math.max(1, i + 2 - recompute), i + 1);
        pending = i === 0 ? [ids[0]!] : [ids[0]!, ...rest];
      }
      const logits = await prefill(engine, sequence, pending, LAST_LOGITS);
      ms.push(performance.now() - began);
      const surprise = logSumExp(logits) - logits[ids[i + 1]!]!;
      nll.push(surprise);
      if (i >= steadyFrom) steady.push(surprise);
      onToken(i + 1);
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
