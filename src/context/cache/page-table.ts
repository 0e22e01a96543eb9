import { type AttentionPolicy, isForgotten } from "../positions/attention-policy.ts";
import type { Claim, PagePool } from "./page-pool.ts";

export interface PageEntry {
  /** Physical page. */
  readonly page: number;
  /** Text position of its first slot, a multiple of the page size. */
  readonly first: number;
}

/** Called with evicted pages, in the order of their text positions. */
export type OnEvict = (evicted: readonly PageEntry[]) => void;

/** The pages that hold the tokens of one sequence in one group of layers. Integers only, no GPU. */
export class PageTable implements Claim {
  readonly #pool: PagePool;
  /** What its queries see. */
  readonly policy: AttentionPolicy;
  /** Called when pages are freed because no later query can see them. */
  onEvict: OnEvict = () => {};
  readonly #pageSize: number;
  #entries: PageEntry[] = [];
  #length = 0;
  #reserved = 0;

  constructor(pool: PagePool, policy: AttentionPolicy, pageSize: number) {
    this.#pool = pool;
    this.policy = policy;
    this.#pageSize = pageSize;
  }

  /** Tokens of the text so far, evicted ones included: the position of the next token. */
  get length(): number {
    return this.#length;
  }

  /** The pages held, in the order of their positions. */
  get entries(): readonly PageEntry[] {
    return this.#entries;
  }

  /** Pages that are reserved but not taken yet. */
  get promised(): number {
    return Math.max(0, this.#reserved - this.#entries.length);
  }

  /**
   * Reserves pages in total, those that it holds included; 0 ends it. The pool must have this many.
   */
  reserve(pages: number): void {
    this.#reserved = pages;
    if (pages > 0) this.#pool.claim(this);
    else this.#pool.disclaim(this);
  }

  /** Free pages that it may take. */
  get available(): number {
    return this.#pool.availableTo(this);
  }

  /**
   * The most tokens of a step that fit the pool beside the window: `pagesNeeded`, solved for
   * tokens.
   */
  get room(): number {
    const P = this.#pageSize;
    const { sinks, window } = this.policy;
    if (window === Number.POSITIVE_INFINITY) return window;
    return P * (this.#pool.size - Math.ceil(sinks / P) - 1) - (window - 1);
  }

  /**
   * Throws a `CapacityError` if the pool has too few pages for `count` more tokens; changes
   * nothing.
   */
  require(count: number): void {
    this.#pool.require(this.#change(count).missing, this);
  }

  /**
   * Makes room for `count` more tokens and returns their slots (page * P + place). Frees pages
   * first that no later query can see. Throws a `CapacityError` and changes nothing if the pool has
   * too few pages.
   */
  append(count: number): Uint32Array<ArrayBuffer> {
    const P = this.#pageSize;
    const start = this.#length;
    const { kept, forgotten, firstNew, needed, missing } = this.#change(count);
    this.#pool.require(missing, this);
    for (const { page } of forgotten) this.#pool.release(page);
    const fresh = this.#pool.allocate(needed, this);
    this.#entries = [...kept, ...fresh.map((page, i) => ({ page, first: (firstNew + i) * P }))];
    this.#length += count;
    if (forgotten.length > 0) this.onEvict(forgotten);
    return Uint32Array.from({ length: count }, (_, i) => this.#slot(start + i));
  }

  /** Which pages are kept, freed and missing if `count` tokens are appended. */
  #change(count: number) {
    const P = this.#pageSize;
    const start = this.#length;
    const kept: PageEntry[] = [];
    const forgotten: PageEntry[] = [];
    for (const entry of this.#entries) {
      const isGone = isForgotten(this.policy, entry.first, entry.first + P - 1, start);
      (isGone ? forgotten : kept).push(entry);
    }
    const firstNew = Math.ceil(start / P);
    const needed = Math.ceil((start + count) / P) - firstNew;
    const missing = needed - forgotten.filter(({ page }) => this.#pool.users(page) === 1).length;
    return { kept, forgotten, firstNew, needed, missing };
  }

  /**
   * Whether `truncate(length)` is possible: not beyond the end, nor if the next token would see an
   * evicted page.
   */
  canTruncate(length: number): boolean {
    const P = this.#pageSize;
    if (length < 0 || length > this.#length) return false;
    const held = new Set(this.#entries.map(({ first }) => first));
    for (let first = 0; first < length; first += P) {
      if (!held.has(first) && !isForgotten(this.policy, first, first + P - 1, length)) return false;
    }
    return true;
  }

  /**
   * Removes the tokens from `length` on. Returns false, and changes nothing, unless
   * `canTruncate(length)`.
   */
  truncate(length: number): boolean {
    if (!this.canTruncate(length)) return false;
    for (const { page, first } of this.#entries) if (first >= length) this.#pool.release(page);
    this.#entries = this.#entries.filter(({ first }) => first < length);
    this.#length = length;
    return true;
  }

  /** Whether the token at `length` would be written into a page that another table uses, too. */
  isShared(length: number): boolean {
    const P = this.#pageSize;
    const place = this.#entries.find(({ first }) => first < length && length < first + P);
    return place !== undefined && this.#pool.users(place.page) > 1;
  }

  /** A table with the same pages up to `length`, a multiple of the page size: they are shared. */
  fork(length: number): PageTable {
    const fork = new PageTable(this.#pool, this.policy, this.#pageSize);
    fork.#entries = this.#entries.filter(({ first }) => first < length);
    fork.#length = length;
    for (const { page } of fork.#entries) this.#pool.retain(page);
    return fork;
  }

  /** Frees all pages. */
  clear(): void {
    for (const { page } of this.#entries) this.#pool.release(page);
    this.#entries = [];
    this.#length = 0;
  }

  #slot(position: number): number {
    const P = this.#pageSize;
    const fromEnd = Math.floor((this.#length - 1) / P) - Math.floor(position / P);
    return this.#entries.at(-1 - fromEnd)!.page * P + (position % P);
  }
}
