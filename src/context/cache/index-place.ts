// How far a text is in the index of pages.

import type { AttentionPolicy } from "../positions/attention-policy.ts";
import { FINDABLE_TOKENS, type PageIndex, type PageNode } from "./page-index.ts";
import type { PageTable } from "./page-table.ts";

/** The text of a sequence: the known tokens, and how many have pages. */
interface Text {
  readonly policy: AttentionPolicy;
  readonly ids: readonly number[];
  readonly length: number;
  readonly tables: readonly PageTable[];
}

/** Which pages of a text are in the index: those before its place. */
export class IndexPlace {
  readonly #index: PageIndex | undefined;
  /** P */
  readonly #pageSize: number;
  /** Tokens whose keys and values are in the pages, in all layers. */
  #computed = 0;
  /** The node of its whole pages so far, and how many these are. */
  #node: PageNode | undefined;
  #pages = 0;

  /** `index` is undefined if texts find nothing of each other. */
  constructor(index: PageIndex | undefined, pageSize: number) {
    this.#index = index;
    this.#pageSize = pageSize;
  }

  /** Says that all layers have computed the last `count` of `length` tokens. False if not those before. */
  computed(count: number, length: number): boolean {
    if (length - count > this.#computed) return false;
    this.#computed = length;
    return true;
  }

  /** Puts the whole pages of a text into the index, as far as they are computed and their ids known. */
  add({ policy, ids, tables }: Text): void {
    const known = Math.min(this.#computed, ids.length, FINDABLE_TOKENS);
    const whole = Math.floor(known / this.#pageSize);
    if (!this.#index || whole <= this.#pages) return;
    this.#node = this.#index.add(policy, ids, known, tables, this.#node);
    this.#pages = whole;
  }

  /** The pages that hold most of `ids`, a text that goes on from this one. Undefined if it has them. */
  find({ policy, length, tables }: Text, ids: readonly number[], most: number) {
    const node = this.#node;
    const isHere = node?.depth === Math.floor(length / this.#pageSize) && !node.isRemoved;
    if (!this.#index || (isHere && !this.#index.hasNext(node, ids))) return undefined;
    const found = this.#index.find(policy, ids, most, tables);
    return found && found.length > length ? found : undefined;
  }

  /** Moves to behind pages that were found. */
  goTo(node: PageNode): void {
    this.#node = node;
    this.#pages = node.depth;
    this.#computed = node.depth * this.#pageSize;
  }

  /** See `Sequence.nextPage`. */
  nextPage({ policy, length }: Text, ids: readonly number[]): string | undefined {
    return this.#index?.nextPage(policy, ids, Math.floor(length / this.#pageSize), this.#node);
  }

  /** Goes back to what the first `length` tokens are found by. */
  cut(length: number): void {
    this.#computed = Math.min(this.#computed, length);
    this.#pages = Math.min(this.#pages, Math.floor(length / this.#pageSize));
    while (this.#node && this.#node.depth > this.#pages) this.#node = this.#node.parent;
    if (this.#pages === 0) this.#node = undefined; // the whole index may have been lost
  }

  /** Takes the place of another text with the same tokens. */
  become(other: IndexPlace): void {
    this.#computed = other.#computed;
    this.#node = other.#node;
    this.#pages = other.#pages;
  }
}
