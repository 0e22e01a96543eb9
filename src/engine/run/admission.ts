// Which requests may begin. A request that has begun finds a page for every token that it may have: the most pages that it can
// come to hold are reserved before its first step. One that there are too few for waits, and those behind it wait, too.

import type { PagePool } from "../../context/cache/page-pool.ts";
import type { IdlePrefixes, PrefixCache } from "../../context/cache/prefix-cache.ts";
import type { Sequence } from "../../context/cache/sequence.ts";
import { type AttentionPolicy, pagesNeeded } from "../../context/positions/attention-policy.ts";
import { CapacityError } from "../../kernels/gpu/device.ts";

/** A text that is to be computed. */
export interface TextRequest {
  /** Its tokens, or as many as it begins with. */
  readonly ids: readonly number[];
  /** The most tokens that it may come to have. Default: those. */
  readonly tokens?: number | undefined;
  /** Whether the whole text is computed again for every token. */
  readonly isRecomputed?: boolean | undefined;
  /** Default: the engine's. */
  readonly policy?: AttentionPolicy | undefined;
  /** What it may go on from. */
  readonly prefixCache?: PrefixCache | undefined;
  /** Ends its waiting. */
  readonly signal?: AbortSignal | undefined;
}

/** The most pages that a request comes to hold while it takes at most `chunk` tokens at a time. */
export function pagesOf(
  { ids, tokens = ids.length, isRecomputed }: TextRequest,
  policy: AttentionPolicy,
  chunk: number,
  pageSize: number,
): number {
  // Beyond what it begins with, a text takes one token at a time.
  const step = Math.max(1, Math.min(chunk, isRecomputed ? tokens : ids.length));
  return Math.min(Math.ceil(tokens / pageSize), pagesNeeded(policy, tokens, step, pageSize));
}

interface Waiting {
  /** Begins, or says that it cannot yet. */
  readonly begin: () => boolean;
  readonly fail: (error: unknown) => void;
  /** In each pool. */
  readonly pages: readonly number[];
}

/** Requests that wait for pages, first come, first served. */
export class Admission {
  readonly #pools: readonly PagePool[];
  readonly #idle: IdlePrefixes;
  readonly #waiting: Waiting[] = [];
  #isDue = false;

  constructor(pools: readonly PagePool[], idle: IdlePrefixes) {
    this.#pools = pools;
    this.#idle = idle;
    for (const pool of pools) pool.onFree = () => this.#serveSoon();
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
   * A sequence for a request with `pages` pages of each pool reserved for it, when there are as many. If its signal is raised
   * first, an empty sequence without any. Throws a `CapacityError` if waiting is of no use: the cache is too small, or
   * sequences that the caller has made hold it while no request runs.
   */
  admit(
    { ids, prefixCache, signal }: TextRequest,
    pages: readonly number[],
    sequence: () => Sequence,
    take: (prefixCache: PrefixCache) => Sequence,
  ): Promise<Sequence> {
    const small = this.#pools.findIndex(({ size }, i) => pages[i]! > size);
    if (small >= 0) {
      const [text, needed] = [`${ids.length} tokens`, pages[small]];
      return Promise.reject(
        new CapacityError(
          `A request that begins with ${text} needs ${needed} pages of the cache, which has ${this.#pools[small]!.size}: ` +
            "load with a larger context, or with an attention window that forgets.",
        ),
      );
    }
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        pages,
        begin: () => {
          const own = prefixCache?.pages; // they come to this request, or are given back
          const isRoom = () =>
            this.#pools.every((pool, i) => pages[i]! <= pool.availableTo() + (own?.[i] ?? 0));
          this.#idle.giveWay(isRoom, prefixCache);
          if (!isRoom()) return false;
          const taken = prefixCache ? take(prefixCache) : sequence();
          taken.reserve(pages);
          signal?.removeEventListener("abort", abort);
          resolve(taken);
          return true;
        },
        fail: (error) => {
          signal?.removeEventListener("abort", abort);
          reject(error);
        },
      };
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        resolve(sequence());
        this.#serve(); // those behind it may need less
      };
      if (signal?.aborted) {
        resolve(sequence());
        return;
      }
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.push(waiting);
      this.#serve();
    });
  }

  /** Ends all waiting. */
  close(error: unknown): void {
    for (const { fail } of this.#waiting.splice(0)) fail(error);
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      if (!next.begin()) {
        if (this.#pools.some(({ claims }) => claims > 0)) return; // they end, and then it is looked again
        const full = Math.max(
          0,
          this.#pools.findIndex((pool, i) => next!.pages[i]! > pool.availableTo()),
        );
        const pool = this.#pools[full]!;
        const [needed, free] = [next.pages[full], pool.availableTo()];
        next.fail(
          new CapacityError(
            `The cache is full: ${needed} pages are needed, ${free} of ${pool.size} are free, and no request runs that would give ` +
              "others back. Clear the sequences that hold them, or load with more sequences.",
          ),
        );
      }
      this.#waiting.shift();
    }
  }
}
