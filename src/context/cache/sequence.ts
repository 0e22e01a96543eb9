import type { AttentionPolicy } from "../positions/attention-policy.ts";
import { IndexPlace } from "./index-place.ts";
import type { PageIndex } from "./page-index.ts";
import type { Appended, OnEvict, PageEntry, PageTable } from "./page-table.ts";

/** What all sequences of a cache share. */
export interface SequenceSpace {
  /** How many times the content of the pages was lost with a device. */
  readonly losses: number;
  /** The most tokens of a step. */
  readonly chunk: number;
  /**
   * The text position beyond which a step takes one token, since rotation frequencies change with
   * the length of the text.
   */
  readonly movesBeyond: number;
  /** P */
  readonly pageSize: number;
  /** Finds pages of other texts; undefined if texts share only what is forked. */
  readonly index: PageIndex | undefined;
}

/**
 * A text in the cache: its tokens, where their keys and values lie, and its attention policy. It
 * has the only copy of the tokens, so it can be computed again after a lost device. Integers only,
 * no GPU.
 */
export class Sequence {
  /** Its attention policy; layers with a window of their own see less. */
  readonly policy: AttentionPolicy;
  /** A page table for each cache group. */
  readonly tables: readonly PageTable[];
  readonly #space: SequenceSpace;
  /** The page table of the group with the largest window. */
  readonly #widest: PageTable;
  /** Called with pages that are freed because no later query can see them. */
  onEvict: OnEvict = () => {};
  /** Whether the scheduler may take pages of other texts for it. Default: false. */
  finds = false;
  #ids: number[] = [];
  #length = 0;
  #losses: number;
  readonly #place: IndexPlace;
  #cached = 0;
  /** The token that was appended last, if the GPU chooses it. */
  #pending: Promise<number> | undefined;
  /**
   * Pages that were freed but not reported yet, and the text position up to which pages were
   * reported.
   */
  #evicted: PageEntry[] = [];
  #toldUntil = 0;

  constructor(policy: AttentionPolicy, tables: readonly PageTable[], space: SequenceSpace) {
    this.policy = policy;
    this.tables = tables;
    this.#space = space;
    this.#place = new IndexPlace(space.index, space.pageSize);
    this.#widest = tables.reduce((a, b) => (b.policy.window > a.policy.window ? b : a));
    this.#losses = space.losses;
    this.#widest.onEvict = (evicted) => {
      this.#evicted.push(...evicted);
    };
  }

  /**
   * The known tokens, evicted ones included. The GPU may be ahead by some that it chose and that
   * are not read back yet.
   */
  get ids(): readonly number[] {
    return this.#ids;
  }

  /** Tokens appended so far, evicted ones included: the position of the next token. */
  get length(): number {
    return this.#length;
  }

  /** Tokens that it did not compute, but found in pages of the cache. */
  get cached(): number {
    return this.#cached;
  }

  /**
   * Whether its next token needs a step of its own: keys are stored raw, its rotation frequencies
   * change with its length, and another text, which may have another length, reads the same keys.
   */
  get rotatesAlone(): boolean {
    if (this.#length < this.#space.movesBeyond) return false;
    return this.tables.some(({ isShared }) => isShared);
  }

  /** Pages in each group that a fork need not take: whole ones that no window lets go. */
  get wholePages(): readonly number[] {
    const isWhole = this.#length % this.#space.pageSize === 0;
    return this.tables.map(({ entries, policy }) =>
      policy.window === Number.POSITIVE_INFINITY ? entries.length - (isWhole ? 0 : 1) : 0,
    );
  }

  /**
   * The pages held, in the order of their positions; with several groups, those of the largest
   * window.
   */
  get entries(): readonly PageEntry[] {
    return this.#widest.entries;
  }

  /**
   * Settles when all tokens are known; rejects if the device was lost before a chosen one was read
   * back.
   */
  async settled(): Promise<void> {
    await this.#pending;
  }

  /** Whether it lies in this cache. */
  isIn(space: SequenceSpace): boolean {
    return this.#space === space;
  }

  /**
   * Whether the content of its pages is lost, so that its ids must be computed again before its
   * next step.
   */
  get isLost(): boolean {
    return this.#ids.length > this.#length || this.isStale;
  }

  /** Whether it still counts on pages whose device was lost: `discard()` them. */
  get isStale(): boolean {
    return this.#length > 0 && this.#losses !== this.#space.losses;
  }

  /**
   * The most tokens of its next step: as many as the pools have pages for beside what is still
   * visible. One token if rotation frequencies change with the length of the text, so that results
   * do not depend on how a prompt is cut.
   */
  get stepLimit(): number {
    const { chunk, movesBeyond } = this.#space;
    const room = Math.min(...this.tables.map((table) => table.room));
    return Math.max(1, Math.min(chunk, room, movesBeyond - this.#length));
  }

  /** Tokens that fit the free pages that it may take. */
  get available(): number {
    return this.#space.pageSize * Math.min(...this.tables.map(({ available }) => available));
  }

  /**
   * Reserves pages in each group, those that it holds included; none given ends the reservation.
   */
  reserve(pages: readonly number[]): void {
    for (const [i, table] of this.tables.entries()) table.reserve(pages[i] ?? 0);
  }

  /**
   * Makes room for tokens, or for one that the GPU is about to choose, and returns their slots in
   * each group, and the page to copy before they are written. Frees pages first that no later query
   * can see. Throws a `CapacityError`, and changes nothing, if a pool has too few.
   */
  append(tokens: readonly number[] | Promise<number>): Appended[] {
    const isKnown = "length" in tokens;
    if (isKnown) this.#checkFollows(tokens);
    if (this.isStale) throw new Error("its pages are lost: discard them first");
    const count = isKnown ? tokens.length : 1;
    if (this.tables.length > 1) for (const table of this.tables) table.require(count);
    if (this.#length === 0) this.#losses = this.#space.losses;
    const appended = this.tables.map((table) => table.append(count));
    const start = this.#length;
    this.#length += count;
    if (!isKnown) this.#learn(tokens);
    else if (this.#ids.length === start) for (const id of tokens) this.#ids.push(id);
    return appended;
  }

  /**
   * Says that all layers have computed the last `count` tokens: its whole pages go into the index, as
   * far as their ids are known, unless some may be taken back.
   */
  computed(count: number, mayTakeBack = false): void {
    const isComputed = this.#place.computed(count, this.#length);
    if (isComputed && !mayTakeBack) this.#addToIndex();
  }

  #addToIndex(): void {
    if (!this.isStale) this.#place.add(this);
  }

  /**
   * Takes pages from the index if they hold more of a text than the sequence has: `ids` is the whole
   * text, and begins with what the sequence has. Uses at most `most` tokens. Returns how many tokens
   * were gained.
   */
  find(ids: readonly number[], most: number): number {
    if (this.isStale) this.discard();
    const found = this.#place.find(this, ids, most);
    if (!found) return 0;
    const gained = found.length - this.#length;
    const known = this.#ids.length;
    for (const [i, table] of this.tables.entries()) table.hold(found.entries[i]!, found.length);
    if (known < found.length) this.#ids = ids.slice(0, found.length);
    this.#length = found.length;
    this.#losses = this.#space.losses;
    this.#place.goTo(found.node);
    this.#cached += Math.max(0, found.length - known); // what it knew before it has computed once
    return gained;
  }

  /**
   * A name for the page that it computes next, if `tokens` follow: two texts that are about to compute
   * the same page have the same. Undefined if that page will not be found.
   */
  nextPage(tokens: readonly number[]): string | undefined {
    return this.#place.nextPage(this, [...this.#ids.slice(0, this.#length), ...tokens]);
  }

  /** Throws unless the tokens follow known ones, or repeat the text that is computed again. */
  #checkFollows(tokens: readonly number[]): void {
    const start = this.#length;
    if (this.#ids.length < start) throw new Error("the token before is not known yet: await it");
    const isText = tokens.every((id, i) => id === (this.#ids[start + i] ?? id));
    const isBeyond = start + tokens.length > this.#ids.length && this.#ids.length > start;
    if (isText && !isBeyond) return;
    throw new Error("tokens are appended to a sequence that was not computed again");
  }

  /**
   * Adds a chosen token to the ids when it is read back, unless the text was cut or cleared
   * meanwhile.
   */
  #learn(token: Promise<number>): void {
    const ids = this.#ids; // `truncate` and `discard` replace the array
    this.#pending = token;
    token.then(
      (id) => ids.push(id),
      () => {}, // `settled` rejects, too
    );
  }

  /**
   * Calls `onEvict` with the pages that steps have freed: after the step is submitted, since the
   * callback may throw. Pages of a text that is computed again are not reported twice.
   */
  tellEvicted(): void {
    const evicted = this.#evicted.filter(({ first }) => first >= this.#toldUntil);
    this.#evicted = [];
    if (evicted.length === 0) return;
    this.#toldUntil = evicted.at(-1)!.first + this.#space.pageSize;
    this.onEvict(evicted);
  }

  /**
   * Removes the tokens from `length` on. Returns false, and changes nothing, if the text is
   * shorter, or if the token at `length` would see an evicted page.
   */
  truncate(length: number): boolean {
    if (length > this.#ids.length) return false;
    if (this.isStale) this.discard();
    const kept = Math.min(length, this.#length);
    if (!this.tables.every((table) => table.canTruncate(kept))) return false;
    for (const table of this.tables) table.truncate(kept);
    this.#length = kept;
    this.#ids = this.#ids.slice(0, length);
    this.#pending = undefined;
    this.#place.cut(kept);
    return true;
  }

  /**
   * A text with the same tokens, which goes its own way from here. Pages are shared; the last one is
   * copied when either of them writes to it. What it forgets it tells to a listener of its own.
   */
  fork(): Sequence {
    const tables = this.tables.map((table) => table.empty());
    const fork = new Sequence(this.policy, tables, this.#space);
    fork.become(this);
    return fork;
  }

  /** Takes the text of another one in place of its own, as `fork` does; what is reserved for it stays. */
  become(other: Sequence): void {
    const held = other.isStale ? 0 : Math.min(other.#length, other.#ids.length);
    const length = other.tables.every((table) => table.canTruncate(held)) ? held : 0;
    for (const [i, table] of this.tables.entries()) {
      const { entries } = other.tables[i]!;
      table.hold(
        entries.filter(({ first }) => first < length),
        length,
      );
    }
    this.finds = other.finds;
    this.#ids = other.#ids.slice();
    this.#pending = undefined;
    this.#length = length;
    this.#losses = other.#losses;
    this.#place.become(other.#place);
    this.#place.cut(length);
  }

  /**
   * Becomes a text of which the first `length` tokens are computed already: their keys and values
   * are about to be written to the pages that this returns, in each group, which begin at these
   * positions. Throws a `CapacityError`, and is empty then, if a pool has too few.
   */
  restore(
    ids: readonly number[],
    length: number,
    pages: readonly (readonly number[])[],
  ): (readonly PageEntry[])[] {
    this.clear();
    try {
      const entries = this.tables.map((table, i) => table.restore(pages[i]!, length));
      this.#losses = this.#space.losses;
      this.#ids = [...ids];
      this.#length = length;
      return entries;
    } catch (error) {
      this.clear();
      throw error;
    }
  }

  /** Frees all pages and keeps the first `keep` tokens of the text, to be computed again. */
  discard(keep: number = this.#ids.length): void {
    this.#addToIndex();
    for (const table of this.tables) table.clear();
    this.#length = 0;
    this.#place.cut(0);
    this.#ids = this.#ids.slice(0, keep);
    this.#pending = undefined;
    if (keep === 0) this.#toldUntil = 0;
  }

  /** Frees all pages and forgets the text. */
  clear(): void {
    this.discard(0);
  }

  /** Frees all pages, forgets the text and ends the reservation. */
  release(): void {
    this.clear();
    this.reserve([]);
  }
}

/**
 * Yields the parts of a text. `limit()` is called anew for each, since it may change with the parts
 * before.
 */
export function* partsOf(
  ids: readonly number[],
  limit: () => number,
): Generator<{
  readonly tokens: readonly number[];
  readonly at: number;
  readonly isLast: boolean;
}> {
  for (let at = 0; at < ids.length; ) {
    const tokens = ids.slice(at, at + limit());
    const isLast = at + tokens.length === ids.length;
    yield { tokens, at, isLast };
    at += tokens.length;
  }
}
