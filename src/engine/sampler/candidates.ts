import { descending, take, takeUntil } from "./descending.ts";
import { largest, softmax } from "./softmax.ts";

/**
 * The tokens that may still be chosen, in any order. Filters return new candidates and change none.
 */
export interface Candidates {
  /** [n] */
  readonly ids: Uint32Array;
  /** [n], beside `ids`; -Infinity for a token that must not be chosen. */
  readonly logits: Float64Array;
  /** ln(sum of exp(logit)) of the whole vocabulary, if some tokens are missing. */
  readonly logSum?: number;
}

/** Keeps the `k` likeliest; all of them when `k` is 0. The likeliest comes first. */
export function topK(candidates: Candidates, k: number): Candidates {
  if (k === 0) return candidates;
  // The sum over all tokens is not needed any more.
  if (k >= candidates.ids.length) return { ids: candidates.ids, logits: candidates.logits };
  return pick(candidates, take(descending(candidates.logits), k));
}

/**
 * Locally typical sampling (Meister et al. 2022): keeps the tokens whose surprise is nearest to the
 * distribution's entropy: the fewest that together exceed probability `p`.
 */
export function typical(candidates: Candidates, p: number, minKeep = 1): Candidates {
  if (p >= 1) return candidates;
  const probabilities = softmax(candidates.logits);
  const surprises = new Float64Array(probabilities.length);
  let entropy = 0;
  for (let i = 0; i < probabilities.length; i++) {
    const q = probabilities[i]!;
    surprises[i] = -Math.log(q);
    if (q > 0) entropy += q * surprises[i]!;
  }
  const nearness = new Float64Array(probabilities.length);
  for (let i = 0; i < nearness.length; i++) nearness[i] = -Math.abs(surprises[i]! - entropy);

  let mass = 0;
  const enough = (i: number) => {
    mass += probabilities[i]!;
    return mass > p;
  };
  return pick(candidates, takeUntil(descending(nearness), enough, minKeep));
}

/**
 * Nucleus sampling (Holtzman et al. 2020): keeps the fewest likeliest tokens that together reach
 * probability `p`.
 */
export function topP(candidates: Candidates, p: number, minKeep = 1): Candidates {
  if (p >= 1) return candidates;
  const { logits, logSum } = candidates;
  const probabilities =
    logSum === undefined ? softmax(logits) : logits.map((logit) => Math.exp(logit - logSum));

  let mass = 0;
  const enough = (i: number) => {
    mass += probabilities[i]!;
    return mass >= p;
  };
  return pick(candidates, takeUntil(descending(logits), enough, minKeep));
}

/** Keeps the tokens at least `p` times as likely as the likeliest. */
export function minP(candidates: Candidates, p: number, minKeep = 1): Candidates {
  if (p <= 0) return candidates;
  const { logits } = candidates;
  const threshold = largest(logits) + Math.log(p);
  const kept: number[] = [];
  for (let i = 0; i < logits.length; i++) if (logits[i]! >= threshold) kept.push(i);
  if (kept.length < minKeep) return topK(candidates, minKeep);
  return pick(candidates, kept);
}

/** Sharpens (below 1) or flattens (above 1) the distribution; `t` must not be 0. */
export function temper({ ids, logits }: Candidates, t: number): Candidates {
  // Relative to the largest, no quotient overflows to +Infinity, even at a tiny temperature.
  const top = largest(logits);
  const tempered = new Float64Array(logits.length);
  for (let i = 0; i < tempered.length; i++) tempered[i] = (logits[i]! - top) / t;
  return { ids, logits: tempered };
}

function pick({ ids, logits }: Candidates, indices: readonly number[]): Candidates {
  return {
    ids: Uint32Array.from(indices, (i) => ids[i]!),
    logits: Float64Array.from(indices, (i) => logits[i]!),
  };
}
