// The time that a text has taken, and how much of its prompt was found.

import type { Sequence } from "../../context/cache/sequence.ts";

/** What a text has cost so far. */
export class Spent {
  readonly began: number = performance.now();
  prefillMs = 0;
  readonly #sequence: Sequence;
  /** Tokens of its beginning that it computes itself, as far as these are known at the start. */
  readonly #uncached: number;
  #cachedTokens: number | undefined;

  constructor(sequence: Sequence) {
    this.#sequence = sequence;
    this.#uncached = sequence.cached - sequence.length;
  }

  /** Tokens of the prompt that were not computed for it: some may be found on the way. */
  get cachedTokens(): number {
    return this.#cachedTokens ?? this.#sequence.cached - this.#uncached;
  }

  /** Says that the prompt has been computed. */
  prefilled(): void {
    if (this.#cachedTokens !== undefined) return;
    this.#cachedTokens = this.cachedTokens;
    this.prefillMs = performance.now() - this.began;
  }
}
