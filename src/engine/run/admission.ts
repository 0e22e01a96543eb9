// Which requests may begin. A request that has begun finds a page for every token that it may have: the
// most pages that it can come to hold are reserved before its first step. One that there are too few
// for waits, and those behind it wait, too.

import type { PagePool } from "../../context/cache/page-pool.ts";
import type { IdlePrefixes, Prefix } from "../../context/cache/prefix-cache.ts";
import type { Sequence } from "../../context/cache/sequence.ts";
import { type AttentionPolicy, pagesNeeded } from "../../context/positions/attention-policy.ts";
import { UserError } from "../../errors.ts";
import { CapacityError } from "../../kernels/gpu/device.ts";
import type { RequestLimits } from "../options.ts";

/** More requests wait than may. */
export class TooManyRequestsError extends UserError {
  override readonly name = "TooManyRequestsError";

  constructor(most: number) {
    super(
      `${most} requests wait already: await some of them before the next, or load with a larger maxWaiting.`,
    );
  }
}

/** A text that is to be computed. */
export interface TextRequest {
  /** Its tokens, or those that it begins with. */
  readonly ids: readonly number[];
  /** The most tokens that it may grow to. Default: the length of `ids`. */
  readonly tokens?: number | undefined;
  /** Tokens of a later step, at most. Default: 1. */
  readonly rows?: number | undefined;
  /** Whether the whole text is computed again for every token. */
  readonly isRecomputed?: boolean | undefined;
  /** Default: the engine's. */
  readonly policy?: AttentionPolicy | undefined;
  /** A cached text whose beginning it may share. */
  readonly prefix?: Prefix | undefined;
  /** Whether pages that hold its beginning are looked for. Default: false. */
  readonly finds?: boolean | undefined;
  /** Aborts the waiting. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The most pages in each pool that a request comes to hold with steps of at most `chunk` tokens.
 */
export function pagesOf(
  { ids, tokens = ids.length, rows = 1, isRecomputed }: TextRequest,
  policy: AttentionPolicy,
  chunk: number,
  pageSize: number,
): number {
  // After its first tokens, a text grows by one token a step, or by a few with drafts.
  const step = Math.max(1, Math.min(chunk, isRecomputed ? tokens : Math.max(rows, ids.length)));
  return Math.min(Math.ceil(tokens / pageSize), pagesNeeded(policy, tokens, step, pageSize));
}

interface Waiting {
  /** In each pool. */
  readonly pages: readonly number[];
  /** What it may go on from. */
  readonly prefix: Prefix | undefined;
  /** How many pages it need not take from each pool, or frees. */
  readonly own: () => readonly number[];
  readonly begin: () => void;
  readonly fail: (error: unknown) => void;
}

/** The queue of requests that wait for pages: first come, first served. */
export class Admission {
  readonly #pools: readonly PagePool[];
  readonly #idle: IdlePrefixes;
  readonly #limits: RequestLimits;
  readonly #waiting: Waiting[] = [];
  /**
   * Texts that are not read on, with their pages: they count as running no more, and give their pages
   * back if all that hold some are paused and another request needs them.
   */
  readonly #paused = new Map<Sequence, readonly number[]>();
  /** Those that gave their pages back: by what they need to go on. */
  readonly #yielded = new Map<Sequence, readonly number[]>();
  readonly #pages = new WeakMap<Sequence, readonly number[]>();
  #yields = 0;
  #isDue = false;

  constructor(pools: readonly PagePool[], idle: IdlePrefixes, limits: RequestLimits) {
    this.#pools = pools;
    this.#idle = idle;
    this.#limits = limits;
    for (const pool of pools) pool.onFree = () => this.#serveSoon();
  }

  /** Requests that have begun and are read on. */
  get running(): number {
    return this.#begun - this.#paused.size;
  }

  /** Requests that wait to begin, or to go on. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** How often a text has given its pages back, to be computed again. */
  get yields(): number {
    return this.#yields;
  }

  get #begun(): number {
    return Math.max(...this.#pools.map(({ claims }) => claims));
  }

  /** When what gives pages back has also taken those that it is about to. */
  #serveSoon(): void {
    if (this.#isDue || this.#waiting.length === 0) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      this.#serve();
    });
  }

  /**
   * A sequence for a request with `pages` pages of each pool reserved for it, when there are as many.
   * If its signal is raised first, an empty sequence without any. Throws a `CapacityError` if waiting
   * is of no use: the cache is too small, or sequences that the caller has made hold it while no
   * request runs; a `TooManyRequestsError` if too many wait.
   */
  async admit(
    { ids, prefix, signal }: TextRequest,
    pages: readonly number[],
    sequence: () => Sequence,
    { own, take }: { readonly own: () => readonly number[]; readonly take: () => Sequence },
  ): Promise<Sequence> {
    const small = this.#pools.findIndex(({ size }, i) => pages[i]! > size);
    if (small >= 0) {
      const [text, needed] = [`${ids.length} tokens`, pages[small]];
      throw new CapacityError(
        `A request that begins with ${text} needs ${needed} pages of the cache, which has ${this.#pools[small]!.size}: ` +
          "load with a larger context, or with an attention window that forgets.",
      );
    }
    if (signal?.aborted) return sequence();
    const hasBegun = await this.#enqueue({ pages, prefix, own }, signal, "last", () => {
      const taken = take();
      taken.reserve(pages);
      this.#pages.set(taken, pages);
      return taken;
    });
    return hasBegun ?? sequence();
  }

  /** Says that the next token of a text is not asked for yet. */
  pause(sequence: Sequence): void {
    const pages = this.#pages.get(sequence);
    if (!pages || this.#yielded.has(sequence)) return;
    this.#paused.set(sequence, pages);
    this.#serveSoon();
  }

  /** Says that a text is read on; settles when it has its pages again, or if the signal is raised. */
  async resume(sequence: Sequence, signal: AbortSignal | undefined): Promise<void> {
    if (this.#paused.delete(sequence)) return;
    const pages = this.#yielded.get(sequence);
    if (!pages || signal?.aborted) return;
    const needed = { pages, prefix: undefined, own: () => [] };
    await this.#enqueue(needed, signal, "first", () => {
      sequence.reserve(pages);
      this.#yielded.delete(sequence);
    });
  }

  /** Forgets a text that has ended, or was left. */
  leave(sequence: Sequence): void {
    this.#paused.delete(sequence);
    this.#yielded.delete(sequence);
    this.#pages.delete(sequence);
  }

  /** Fails all requests that wait. */
  close(error: unknown): void {
    for (const { fail } of this.#waiting.splice(0)) fail(error);
  }

  /** What `begin` gives, when it is its turn; undefined if the signal is raised first. */
  #enqueue<T>(
    needed: Pick<Waiting, "pages" | "prefix" | "own">,
    signal: AbortSignal | undefined,
    place: "first" | "last",
    begin: () => T,
  ): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        resolve(undefined);
        this.#serve(); // those behind it may need less
      };
      const end = () => signal?.removeEventListener("abort", abort);
      const waiting: Waiting = {
        ...needed,
        begin: () => {
          end();
          resolve(begin());
        },
        fail: (error) => {
          end();
          reject(error);
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      if (place === "first") this.#waiting.unshift(waiting);
      else this.#waiting.push(waiting);
      this.#serve();
      const { maxWaiting } = this.#limits;
      if (
        place === "last" &&
        this.#waiting.length > maxWaiting &&
        this.#waiting.at(-1) === waiting
      ) {
        this.#waiting.pop();
        waiting.fail(new TooManyRequestsError(maxWaiting));
      }
    });
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      if (this.running >= this.#limits.sequences) return;
      if (this.#hasRoom(next)) {
        this.#waiting.shift();
        next.begin();
      } else if (this.running > 0) {
        return; // pages come back when one of them ends
      } else if (!this.#yieldPages()) {
        this.#waiting.shift();
        next.fail(this.#fullError(next.pages));
      }
    }
  }

  /** Whether a request could begin, once idle prefixes have given way. */
  #hasRoom({ pages, prefix, own }: Waiting): boolean {
    const isRoom = () => {
      const spared = own();
      return this.#pools.every((pool, i) => pages[i]! <= pool.availableTo() + (spared[i] ?? 0));
    };
    this.#idle.giveWay(isRoom, prefix);
    return isRoom();
  }

  /** Has the youngest of the paused texts give its pages back; false if there is none. */
  #yieldPages(): boolean {
    const youngest = [...this.#paused].at(-1);
    if (!youngest) return false;
    const [sequence, pages] = youngest;
    this.#paused.delete(sequence);
    this.#yielded.set(sequence, pages);
    this.#yields++;
    sequence.discard();
    sequence.reserve([]);
    return true;
  }

  #fullError(pages: readonly number[]): CapacityError {
    const short = this.#pools.findIndex((pool, i) => pages[i]! > pool.availableTo());
    const full = Math.max(0, short);
    const pool = this.#pools[full]!;
    const [needed, free] = [pages[full], pool.availableTo()];
    return new CapacityError(
      `The cache is full: ${needed} pages are needed, ${free} of ${pool.size} are free, and no request runs that would give ` +
        "others back. Clear the sequences that hold them, or load with a larger cacheTokens.",
    );
  }
}
