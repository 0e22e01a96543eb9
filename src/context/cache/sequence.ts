import type { AttentionPolicy } from "../positions/attention-policy.ts";
import type { OnEvict, PageEntry, PageTable } from "./page-table.ts";

/** What a sequence shares with all others of its cache. */
export interface SequenceSpace {
  /** How often a device was lost with what the pages held. */
  readonly losses: number;
  /** The most tokens of a step. */
  readonly chunk: number;
  /** The text position beyond which tokens go one at a time, since rotations move with the length of the text. */
  readonly movesBeyond: number;
  /** P */
  readonly pageSize: number;
}

/**
 * A text in the cache: its tokens, where their keys and values lie, and what its queries see. Nothing else keeps a copy of
 * its tokens, so what holds a sequence can compute it again. Integers only, no GPU.
 */
export class Sequence {
  /** What its queries see; a layer with a window of its own sees less. */
  readonly policy: AttentionPolicy;
  /** A page table for each cache group: the layers that see and forget alike. */
  readonly tables: readonly PageTable[];
  readonly #space: SequenceSpace;
  /** The table that forgets last. */
  readonly #widest: PageTable;
  /** Told when no query to come can see some pages any more, and they are freed. */
  onEvict: OnEvict = () => {};
  #ids: number[] = [];
  #length = 0;
  #losses: number;
  /** The token that was appended last, if the GPU chooses it. */
  #pending: Promise<number> | undefined;
  /** What was freed and is not told yet, and the position up to which such pages have been told. */
  #evicted: PageEntry[] = [];
  #toldUntil = 0;

  constructor(policy: AttentionPolicy, tables: readonly PageTable[], space: SequenceSpace) {
    this.policy = policy;
    this.tables = tables;
    this.#space = space;
    this.#widest = tables.reduce((a, b) => (b.policy.window > a.policy.window ? b : a));
    this.#losses = space.losses;
    this.#widest.onEvict = (evicted) => {
      this.#evicted.push(...evicted);
    };
  }

  /** Its tokens as far as they are known, forgotten ones included: the GPU may be ahead by some that it has chosen itself. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  /** Tokens that have a place in the pages, or had one: the position of the next token. */
  get length(): number {
    return this.#length;
  }

  /** The pages held, in the order of their positions; of several groups those of the one that forgets last. */
  get entries(): readonly PageEntry[] {
    return this.#widest.entries;
  }

  /** Settles when all of its tokens are known; rejects if one was lost on its way from the GPU. */
  async settled(): Promise<void> {
    await this.#pending;
  }

  /** Whether it lies in this cache. */
  isIn(space: SequenceSpace): boolean {
    return this.#space === space;
  }

  /** Whether its pages lost what they held, so that its ids have to be computed again before its next step. */
  get isLost(): boolean {
    return this.#ids.length > this.#length || this.isStale;
  }

  /** Whether it still counts on pages whose device was lost: `discard()` them. */
  get isStale(): boolean {
    return this.#length > 0 && this.#losses !== this.#space.losses;
  }

  /**
   * The most tokens that its next step may take: as many as the pools have pages for beside what is still seen; one if
   * frequencies move with the text, so that each token sees those of its own length however its prompt is cut.
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

  /** Keeps pages for it in each group, those that it holds among them, until none are reserved. */
  reserve(pages: readonly number[]): void {
    for (const [i, table] of this.tables.entries()) table.reserve(pages[i] ?? 0);
  }

  /**
   * Makes room for tokens, or for one that the GPU is about to choose, and returns their slots in each group. Pages that no
   * query from here on can see are freed first. Throws a `CapacityError`, and changes nothing, if a pool has too few.
   */
  append(tokens: readonly number[] | Promise<number>): Uint32Array<ArrayBuffer>[] {
    const isKnown = "length" in tokens;
    if (isKnown) this.#checkFollows(tokens);
    const count = isKnown ? tokens.length : 1;
    if (this.tables.length > 1) for (const table of this.tables) table.require(count);
    if (this.#length === 0) this.#losses = this.#space.losses;
    const slots = this.tables.map((table) => table.append(count));
    const start = this.#length;
    this.#length += count;
    if (!isKnown) this.#learn(tokens);
    else if (this.#ids.length === start) for (const id of tokens) this.#ids.push(id);
    return slots;
  }

  /** Throws unless known tokens follow known tokens, or are those of the text that is computed again. */
  #checkFollows(tokens: readonly number[]): void {
    const start = this.#length;
    if (this.#ids.length < start) throw new Error("the token before is not known yet: await it");
    const isText = tokens.every((id, i) => id === (this.#ids[start + i] ?? id));
    const isBeyond = start + tokens.length > this.#ids.length && this.#ids.length > start;
    if (isText && !isBeyond) return;
    throw new Error("tokens are appended to a sequence that was not computed again");
  }

  /** Adds a token to the ids when it is known, unless the text has been cut or cleared meanwhile. */
  #learn(token: Promise<number>): void {
    const ids = this.#ids; // cutting and clearing replace the array
    this.#pending = token;
    token.then(
      (id) => ids.push(id),
      () => {}, // `settled` rejects
    );
  }

  /**
   * Tells `onEvict` which pages steps have freed: after a step is submitted, since what is told may throw. A text that is
   * computed again tells none twice.
   */
  tellEvicted(): void {
    const evicted = this.#evicted.filter(({ first }) => first >= this.#toldUntil);
    this.#evicted = [];
    if (evicted.length === 0) return;
    this.#toldUntil = evicted.at(-1)!.first + this.#space.pageSize;
    this.onEvict(evicted);
  }

  /**
   * Takes tokens back: the text ends at `length` again. Returns false, and changes nothing, if it is not as long, or if a
   * page is gone that the token at `length` would see.
   */
  truncate(length: number): boolean {
    if (length > this.#ids.length) return false;
    if (!this.tables.every((table) => table.canTruncate(length))) return false;
    for (const table of this.tables) table.truncate(length);
    this.#length = length;
    this.#ids = this.#ids.slice(0, length);
    this.#pending = undefined;
    return true;
  }

  /** Gives all pages back and keeps the first tokens of the text, by default all, to be computed again. */
  discard(keep: number = this.#ids.length): void {
    for (const table of this.tables) table.clear();
    this.#length = 0;
    this.#ids = this.#ids.slice(0, keep);
    this.#pending = undefined;
    if (keep === 0) this.#toldUntil = 0;
  }

  /** Gives all pages back: an empty text. */
  clear(): void {
    this.discard(0);
  }

  /** Gives all pages back, and those that are reserved. */
  release(): void {
    this.clear();
    this.reserve([]);
  }
}

/** The parts of a text, each as long as `limit()` allows when it comes to it: a limit may follow from the parts before. */
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
