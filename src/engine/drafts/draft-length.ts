// How long drafts are, by how many of their tokens were right.

/** Tokens of a first draft. With the token before them they are four rows. */
const FIRST = 3;

/** Steps that go without a draft after misses, at most. */
const LONGEST_REST = 32;

/**
 * How many tokens to draft. On a software adapter a step of 4, 8 and 16 rows takes 2.3 to 2.7, 2.8 to 4.1
 * and 3.8 to 6.4 times as long as a step of one row: a draft pays if about half of it is right.
 */
export class DraftLength {
  readonly #first: number;
  readonly #most: number;
  #next: number;
  /** Steps to go without a draft, and how many after the next miss. */
  #rest = 0;
  #nextRest = 1;

  constructor(most: number) {
    this.#most = most;
    this.#first = Math.min(FIRST, most);
    this.#next = this.#first;
  }

  /** Tokens to draft for the next step; 0 if it should go without. */
  take(): number {
    if (this.#rest === 0) return this.#next;
    this.#rest--;
    return 0;
  }

  /** Hears how many of the drafted tokens were right. */
  tell(drafted: number, right: number): void {
    if (right === drafted) {
      // 3, 7, 15: with the token before them 4, 8 and 16 rows, which tiles of products are made for.
      if (drafted >= this.#next) this.#next = Math.min(this.#most, 2 * this.#next + 1);
      this.#nextRest = 1;
    } else if (2 * right < drafted) {
      this.#next = this.#first;
      this.#rest = this.#nextRest;
      this.#nextRest = Math.min(LONGEST_REST, 2 * this.#nextRest);
    } else {
      this.#next = Math.max(this.#first, Math.floor(this.#next / 2));
    }
  }
}
