import { type AttentionPolicy, isForgotten } from "../positions/attention-policy.ts";
import { type Claim, type PagePool, ROUNDING } from "./page-pool.ts";

export interface PageEntry {
  /** Physical page. */
  readonly page: number;
  /** Text position of its first slot, a multiple of the page size. */
  readonly first: number;
}

/** A page whose content another one gets before a step, since two texts go different ways from it. */
export interface PageCopy {
  readonly from: number;
  readonly to: number;
}

/** What appending tokens to a table gives. */
export interface Appended {
  /** The slots [count] of the tokens: page * P + place. */
  readonly slots: Uint32Array<ArrayBuffer>;
  readonly copies: readonly PageCopy[];
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
  #resets: number;

  constructor(pool: PagePool, policy: AttentionPolicy, pageSize: number) {
    this.#pool = pool;
    this.#resets = pool.resets;
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

  /** Whether another text uses one of its pages, too. */
  get isShared(): boolean {
    return !this.#isStale && this.#entries.some(({ page }) => this.#pool.users(page) > 1);
  }

  /** Whether its pages were lost with their content. */
  get #isStale(): boolean {
    return this.#resets !== this.#pool.resets;
  }

  /** Pages that are reserved but not taken yet. */
  get promised(): number {
    if (this.#isStale) return this.#reserved;
    const isWhole = this.policy.window === Number.POSITIVE_INFINITY;
    // A page that it shares and writes to has yet to be copied.
    const copies = isWhole && this.#mustCopy ? 1 : 0;
    return Math.max(0, this.#reserved - this.#share(this.#entries) + copies);
  }

  /**
   * How many of its reserved pages these take. Under a window a page counts for as much as each of
   * its users has of it: if one of them lets it go, it takes another, and the page is no more free
   * than before.
   */
  #share(entries: readonly PageEntry[]): number {
    if (this.policy.window === Number.POSITIVE_INFINITY) return entries.length;
    return entries.reduce((sum, { page }) => sum + 1 / this.#pool.users(page), 0);
  }

  /** The page that the next token is written to, unless that is a new one. */
  get #open(): PageEntry | undefined {
    return this.#length % this.#pageSize === 0 ? undefined : this.#entries.at(-1);
  }

  /**
   * Pages that it need not take again, or frees, if it goes on from `length`: it keeps those before,
   * but must copy one that it shares and writes to, and frees what it alone uses of the others. A
   * window may let go of a shared page, which others keep: it is not spared.
   */
  worth(length: number): number {
    if (this.#isStale) return 0;
    const isOpen = (first: number) => first < length && length < first + this.#pageSize;
    const isKept = this.policy.window === Number.POSITIVE_INFINITY;
    return this.#entries.filter(
      ({ page, first }) =>
        this.#pool.users(page) === 1 || (isKept && first < length && !isOpen(first)),
    ).length;
  }

  /** Whether the next token would be written to a page that another text uses, too. */
  get #mustCopy(): boolean {
    const open = this.#open;
    return open !== undefined && this.#pool.users(open.page) > 1;
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
    const { missing, isPromised } = this.#change(count);
    this.#pool.require(missing, this, isPromised);
  }

  /**
   * Makes room for `count` more tokens. Frees pages first that no later query can see, and copies
   * the page that they begin on if another text uses it, too. Throws a `CapacityError` and changes
   * nothing if the pool has too few pages.
   */
  append(count: number): Appended {
    if (this.#isStale) this.clear();
    const P = this.#pageSize;
    const start = this.#length;
    const { kept, forgotten, firstNew, needed, missing, isPromised } = this.#change(count);
    this.#pool.require(missing, this, isPromised);
    for (const { page } of forgotten) this.#pool.release(page);
    this.#entries = kept;
    const copies = this.#makeOwn();
    const fresh = this.#pool.take(needed);
    this.#entries.push(...fresh.map((page, i) => ({ page, first: (firstNew + i) * P })));
    this.#length += count;
    if (forgotten.length > 0) this.onEvict(forgotten);
    const slots = Uint32Array.from({ length: count }, (_, i) => this.#slot(start + i));
    return { slots, copies };
  }

  /** Sees to it that the open page can be written: no other text reads it, or will find it. */
  #makeOwn(): PageCopy[] {
    const open = this.#open;
    if (!open) return [];
    if (!this.#mustCopy) {
      this.#pool.forget(open.page);
      return [];
    }
    const [to] = this.#pool.take(1);
    this.#pool.release(open.page);
    this.#entries[this.#entries.length - 1] = { page: to!, first: open.first };
    return [{ from: open.page, to: to! }];
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
    const freed = forgotten.filter(({ page }) => this.#pool.users(page) === 1).length;
    const copied = this.#mustCopy ? 1 : 0;
    const taken = needed + copied;
    // What is copied is given back: the copy takes its place among the reserved ones.
    const isPromised =
      taken + this.#share(kept.slice(0, kept.length - copied)) <= this.#reserved + ROUNDING;
    return { kept, forgotten, firstNew, needed, missing: taken - freed, isPromised };
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
    for (const { page, first } of this.#entries.toReversed()) {
      if (first >= length) this.#pool.release(page);
    }
    this.#entries = this.#entries.filter(({ first }) => first < length);
    this.#length = length;
    // At once, so that no text finds the page that is written next: a copy of it is not reserved.
    const open = this.#open;
    if (open && this.#pool.users(open.page) === 1) this.#pool.forget(open.page);
    return true;
  }

  /** An empty table of the same pool and policy. */
  empty(): PageTable {
    return new PageTable(this.#pool, this.policy, this.#pageSize);
  }

  /**
   * Holds pages that other texts hold, or that are kept, with the first `length` tokens of its text,
   * in place of its own. They are shared, and copied when one is written.
   */
  hold(entries: readonly PageEntry[], length: number): void {
    for (const { page } of entries) this.#pool.retain(page);
    this.clear();
    this.#entries = [...entries];
    this.#length = length;
  }

  /**
   * Takes pages for tokens that are computed already, `length` in all, in place of its own: the
   * pages that begin at these positions. Throws a `CapacityError`, and has none then, if the pool
   * has too few.
   */
  restore(firsts: readonly number[], length: number): readonly PageEntry[] {
    this.clear();
    const pages = this.#pool.allocate(firsts.length, this);
    this.#entries = pages.map((page, i) => ({ page, first: firsts[i]! }));
    this.#length = length;
    return this.#entries;
  }

  /** The page that holds the tokens from `first` on, a multiple of P; undefined if it has none. */
  pageAt(first: number): number | undefined {
    const last = this.#entries.at(-1);
    if (!last) return undefined;
    const entry = this.#entries.at(-1 - (last.first - first) / this.#pageSize);
    return entry?.first === first
      ? entry.page
      : this.#entries.find((each) => each.first === first)?.page;
  }

  /** Frees all pages, the last one first: a text is found again by its beginning. */
  clear(): void {
    if (!this.#isStale) {
      for (const { page } of this.#entries.toReversed()) this.#pool.release(page);
    }
    this.#resets = this.#pool.resets;
    this.#entries = [];
    this.#length = 0;
  }

  #slot(position: number): number {
    const P = this.#pageSize;
    const fromEnd = Math.floor((this.#length - 1) / P) - Math.floor(position / P);
    return this.#entries.at(-1 - fromEnd)!.page * P + (position % P);
  }
}
