// Reports what a text forgets while it is generated.

import type { PageEntry } from "../../context/cache/page-table.ts";
import type { Sequence } from "../../context/cache/sequence.ts";

/**
 * Evicted tokens: their ids, their positions in the text, and the pages of the cache that they
 * free.
 */
export interface Eviction {
  readonly tokens: readonly number[];
  readonly positions: readonly number[];
  readonly pages: readonly number[];
}

type OnEviction = ((eviction: Eviction) => void) | undefined;

/** Holds evictions back until the text has reached them, since steps may be queued ahead of it. */
export class Evictions {
  readonly #pageSize: number;
  readonly #onEvict: OnEviction;
  readonly #waiting: { readonly length: number; readonly entries: readonly PageEntry[] }[] = [];

  constructor(sequence: Sequence, pageSize: number, onEvict: OnEviction) {
    this.#pageSize = pageSize;
    this.#onEvict = onEvict;
    if (!onEvict) return;
    sequence.onEvict = (evicted) => {
      this.#waiting.push({ length: sequence.length, entries: evicted });
    };
  }

  /** Reports what was evicted for the tokens up to the last of `ids`. */
  tell(ids: readonly number[]): void {
    while (this.#waiting[0] && this.#waiting[0].length <= ids.length) {
      const { entries } = this.#waiting.shift()!;
      const positions = entries.flatMap(({ first }) =>
        Array.from({ length: this.#pageSize }, (_, i) => first + i),
      );
      this.#onEvict?.({
        positions,
        tokens: positions.map((position) => ids[position]!),
        pages: entries.map(({ page }) => page),
      });
    }
  }
}
