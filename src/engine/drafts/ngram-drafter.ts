// Drafts by what the text has had before.

import type { Drafter } from "./drafter.ts";

/** Tokens at the end of a text that must have come before: so many at first, and at most. */
const LONGEST = 3;
/** After a draft that was right, these are enough: a text that copies goes on copying. */
const SHORTEST = 2;

/**
 * Guesses that a text repeats itself: what followed its last few tokens when they came before
 * (Saxena, "Prompt Lookup Decoding", 2023). An index finds the place, so that a token costs the same
 * however long the text is.
 */
export class NgramDrafter implements Drafter {
  /** Tokens of the text that are in the index. */
  #known = 0;
  /** By their number, and then by their ids, of any last tokens: the position that followed them. */
  readonly #following = new Map<number, Map<string, number>>();
  /** The last draft, and the position of its first token. */
  #last: { readonly at: number; readonly ids: readonly number[] } | undefined;
  #least = LONGEST;

  /** `text` goes on from that of the call before. */
  async propose(text: readonly number[], most: number): Promise<readonly number[]> {
    for (; this.#known < text.length; this.#known++) this.#add(text, this.#known);
    this.#judge(text);
    const from = this.#placeIn(text);
    if (from === undefined) return [];
    // What is copied may reach into the copy: "a b a b a" goes on with "b a b a".
    const ids: number[] = [];
    for (let at = from; ids.length < most; at++) {
      ids.push(at < text.length ? text[at]! : ids[at - text.length]!);
    }
    this.#last = { at: text.length, ids };
    return ids;
  }

  release(): void {
    this.#following.clear();
  }

  /** Notes what the token at `at` follows. */
  #add(text: readonly number[], at: number): void {
    for (let n = SHORTEST; n <= Math.min(LONGEST, at); n++) {
      const places = this.#following.get(n) ?? new Map<string, number>();
      this.#following.set(n, places.set(keyOf(text, at, n), at));
    }
  }

  /** Takes shorter matches after a draft that was right, until one is mostly wrong. */
  #judge(text: readonly number[]): void {
    if (!this.#last) return;
    const { at, ids } = this.#last;
    const wrong = ids.findIndex((id, i) => id !== text[at + i]);
    if (wrong < 0) this.#least = SHORTEST;
    else if (2 * wrong < ids.length) this.#least = LONGEST;
    this.#last = undefined;
  }

  /** The position that followed when the end of the text came before, the longest end first. */
  #placeIn(text: readonly number[]): number | undefined {
    for (let n = LONGEST; n >= this.#least; n--) {
      const found = this.#following.get(n)?.get(keyOf(text, text.length, n));
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** The `n` tokens before a position. */
function keyOf(text: readonly number[], at: number, n: number): string {
  return text.slice(Math.max(0, at - n), at).join();
}
