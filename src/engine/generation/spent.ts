// The time that a text has taken, and how much of its prompt was found.

import type { Sequence } from "../../context/cache/sequence.ts";

/** What a text has cost so far. */
export class Spent {
  readonly began: number = performance.now();
  prefillMs = 0;
  readonly #sequence: Sequence;
  /** Tokens that the sequence had when the request began. */
  readonly #held: number;
  /** Its `cached` at that time. */
  readonly #cachedBefore: number;
  #cachedTokens: number | undefined;

  constructor(sequence: Sequence) {
    this.#sequence = sequence;
    this.#held = sequence.length;
    this.#cachedBefore = sequence.cached;
  }

  /** Tokens of the prompt that the request did not compute: held at the start, or found since. */
  get cachedTokens(): number {
    return this.#cachedTokens ?? this.#held + this.#sequence.cached - this.#cachedBefore;
  }

  /** Says that the prompt has been computed. */
  prefilled(): void {
    if (this.#cachedTokens !== undefined) return;
    this.#cachedTokens = this.cachedTokens;
    this.prefillMs = performance.now() - this.began;
  }
}
