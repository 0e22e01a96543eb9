/**
 * Finds many words in a text at once, in time linear in both: an automaton whose states are the
 * prefixes of words. (Aho and Corasick 1975, "Efficient string matching: an aid to bibliographic
 * search")
 */
import { UserError } from "../../errors.ts";

/** A hundred times what any known vocabulary has; 18 bytes of memory for each. */
const MAX_UNITS = 2 ** 23;

/**
 * After each unit of a text, the longest beginning of a word that the text ends with so far is a
 * state; 0 is none.
 */
class Automaton {
  /** By state: the last unit of it, and the first state that is longer by one unit. */
  readonly #unit: Uint16Array;
  readonly #child: Int32Array;
  /** The other states that are longer by one unit, by that unit. */
  readonly #siblings = new Map<number, Map<number, number>>();
  /** By state: the longest state that it ends with. */
  readonly #shorter: Int32Array;
  /** By state: the length of the longest word that it ends with. */
  readonly #word: Int32Array;

  constructor(words: readonly string[], isBackwards: boolean) {
    const states = 1 + words.reduce((sum, { length }) => sum + length, 0);
    this.#unit = new Uint16Array(states);
    this.#child = new Int32Array(states);
    this.#shorter = new Int32Array(states);
    this.#word = new Int32Array(states);
    let last = 0;
    for (const word of words) {
      let state = 0;
      for (let i = 0; i < word.length; i++) {
        const unit = word.charCodeAt(isBackwards ? word.length - 1 - i : i);
        state = this.#longer(state, unit) || this.#add(state, unit, ++last);
      }
      this.#word[state] = word.length;
    }
    this.#link(last);
  }

  /** The state after one unit more. */
  step(state: number, unit: number): number {
    for (let from = state; ; from = this.#shorter[from]!) {
      const next = this.#longer(from, unit);
      if (next !== 0 || from === 0) return next;
    }
  }

  /** The length of the longest word that ends here; 0 if none does. */
  word(state: number): number {
    return this.#word[state]!;
  }

  /** Whether a word has begun that is not complete. */
  isWithin(state: number): boolean {
    let at = state;
    while (at !== 0 && this.#child[at] === 0) at = this.#shorter[at]!;
    return at !== 0;
  }

  #longer(state: number, unit: number): number {
    const child = this.#child[state]!;
    if (child === 0 || this.#unit[child] === unit) return child;
    return this.#siblings.get(state)?.get(unit) ?? 0;
  }

  #add(state: number, unit: number, added: number): number {
    this.#unit[added] = unit;
    if (this.#child[state] === 0) {
      this.#child[state] = added;
      return added;
    }
    const siblings = this.#siblings.get(state) ?? new Map<number, number>();
    this.#siblings.set(state, siblings.set(unit, added));
    return added;
  }

  /** From short states to long ones, since each goes by those that are shorter. */
  #link(last: number): void {
    const queue = new Int32Array(last + 1);
    let queued = 1;
    for (let at = 0; at < queued; at++) {
      const state = queue[at]!;
      const child = this.#child[state]!;
      if (child === 0) continue;
      for (const longer of [child, ...(this.#siblings.get(state)?.values() ?? [])]) {
        if (state !== 0) {
          const shorter = this.step(this.#shorter[state]!, this.#unit[longer]!);
          this.#shorter[longer] = shorter;
          this.#word[longer] ||= this.#word[shorter]!;
        }
        queue[queued++] = longer;
      }
    }
  }
}

/** A place in a text, in UTF-16 units. */
interface Occurrence {
  readonly start: number;
  readonly end: number;
}

/** The spellings of tokens, none of them empty, to be found in texts. */
export class Spellings {
  readonly #words: readonly string[];
  #backwards: Automaton | undefined;
  #forwards: Automaton | undefined;

  /** Throws a `UserError` if they are longer in all than any vocabulary needs. */
  constructor(words: readonly string[]) {
    const units = words.reduce((sum, { length }) => sum + length, 0);
    if (units > MAX_UNITS) {
      throw new UserError(
        `The special tokens of the vocabulary have ${units} characters in all; at most ${MAX_UNITS} are supported. The file is damaged or was converted wrongly: take another copy.`,
      );
    }
    this.#words = words;
  }

  /** Wherever one of them begins, the longest that does; in order, and they may overlap. */
  all(text: string): Occurrence[] {
    const found: Occurrence[] = [];
    if (this.#words.length === 0) return found;
    // Read from the back, what ends at a place is what begins there.
    this.#backwards ??= new Automaton(this.#words, true);
    for (let at = text.length - 1, state = 0; at >= 0; at--) {
      state = this.#backwards.step(state, text.charCodeAt(at));
      const length = this.#backwards.word(state);
      if (length > 0) found.push({ start: at, end: at + length });
    }
    return found.reverse();
  }

  /** The first of them, the longest that begins there, and on from its end. */
  cut(text: string): Occurrence[] {
    let end = 0;
    return this.all(text).filter((occurrence) => {
      if (occurrence.start < end) return false;
      end = occurrence.end;
      return true;
    });
  }

  /** Whether a text ends within one of them. */
  endsWithin(text: string): boolean {
    if (this.#words.length === 0) return false;
    this.#forwards ??= new Automaton(this.#words, false);
    let state = 0;
    for (let at = 0; at < text.length; at++) {
      state = this.#forwards.step(state, text.charCodeAt(at));
    }
    return this.#forwards.isWithin(state);
  }
}
