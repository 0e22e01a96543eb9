/**
 * Changes of single logits, made before any filter. Each works in place, on the sampler's copy.
 * `at` finds the logit of a token if not all tokens are there.
 */

/** The index of a token's logit, if there is one. */
export type IndexOf = (id: number) => number | undefined;

const itself: IndexOf = (id) => id;

interface Penalties {
  readonly repeatPenalty: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly penaltyLastN: number;
}

export function addBias(
  logits: Float64Array,
  bias: ReadonlyMap<number, number>,
  at: IndexOf = itself,
): void {
  for (const [id, amount] of bias) {
    const index = at(id);
    if (index !== undefined) logits[index]! += amount;
  }
}

/** Whether any of them may make a token likelier. */
export function canRaise(bias: ReadonlyMap<number, number>, penalties: Penalties): boolean {
  const { repeatPenalty, frequencyPenalty, presencePenalty } = penalties;
  const rewards = repeatPenalty < 1 || frequencyPenalty < 0 || presencePenalty < 0;
  return rewards || [...bias.values()].some((amount) => amount > 0);
}

/** How many tokens the penalties concern. */
export function penalized(history: readonly number[], penalties: Penalties): number {
  return isActive(penalties) ? countLast(history, penalties.penaltyLastN).size : 0;
}

function isActive({ repeatPenalty, frequencyPenalty, presencePenalty }: Penalties): boolean {
  return repeatPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
}

/** Makes the tokens among the last `penaltyLastN` of `history` less likely. */
export function penalize(
  logits: Float64Array,
  history: readonly number[],
  penalties: Penalties,
  at: IndexOf = itself,
): void {
  if (!isActive(penalties)) return;
  const { repeatPenalty, frequencyPenalty, presencePenalty, penaltyLastN } = penalties;
  for (const [id, count] of countLast(history, penaltyLastN)) {
    const index = at(id);
    if (index === undefined) continue;
    const logit = logits[index]!;
    // Dividing a negative logit would make the token likelier.
    const repeated = logit > 0 ? logit / repeatPenalty : logit * repeatPenalty;
    logits[index] = repeated - count * frequencyPenalty - presencePenalty;
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
