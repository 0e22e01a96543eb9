/** Changes of single logits, made before any filter. Each works in place: the sampler hands in its own copy. */

export interface Penalties {
  readonly repeatPenalty: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly penaltyLastN: number;
}

export function addBias(logits: Float64Array, bias: ReadonlyMap<number, number>): void {
  for (const [id, amount] of bias) logits[id]! += amount;
}

/** Makes the tokens among the last `penaltyLastN` of `history` less likely. */
export function penalize(
  logits: Float64Array,
  history: readonly number[],
  { repeatPenalty, frequencyPenalty, presencePenalty, penaltyLastN }: Penalties,
): void {
  if (repeatPenalty === 1 && frequencyPenalty === 0 && presencePenalty === 0) return;
  for (const [id, count] of countLast(history, penaltyLastN)) {
    const logit = logits[id]!;
    // Dividing a negative logit would make the token likelier.
    const repeated = logit > 0 ? logit / repeatPenalty : logit * repeatPenalty;
    logits[id] = repeated - count * frequencyPenalty - presencePenalty;
  }
}

function countLast(history: readonly number[], lastN: number): Map<number, number> {
  const start = lastN < 0 ? 0 : Math.max(0, history.length - lastN);
  const counts = new Map<number, number>();
  for (let i = start; i < history.length; i++) {
    const id = history[i]!;
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}
