// Decides which requests may begin. The most pages that a request can come to hold are reserved
// before its first step, so that it never runs out of them. If too few are free it waits, and the
// requests behind it wait, too.

import type { PagePool } from "../../context/cache/page-pool.ts";
import type { IdlePrefixes, PrefixCache } from "../../context/cache/prefix-cache.ts";
import type { Sequence } from "../../context/cache/sequence.ts";
import { type AttentionPolicy, pagesNeeded } from "../../context/positions/attention-policy.ts";
import { CapacityError } from "../../kernels/gpu/device.ts";

/** A text that is to be computed. */
export interface TextRequest {
  /** Its tokens, or those that it begins with. */
  readonly ids: readonly number[];
  /** The most tokens that it may grow to. Default: the length of `ids`. */
  readonly tokens?: number | undefined;
  /** Whether the whole text is computed again for every token. */
  readonly isRecomputed?: boolean | undefined;
  /** Default: the engine's. */
  readonly policy?: AttentionPolicy | undefined;
  /** A cached text whose beginning it may share. */
  readonly prefixCache?: PrefixCache | undefined;
  /** Aborts the waiting. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The most pages in each pool that a request comes to hold with steps of at most `chunk` tokens.
 */
export function pagesOf(
  { ids, tokens = ids.length, isRecomputed }: TextRequest,
  policy: AttentionPolicy,
  chunk: number,
  pageSize: number,
): number {
  // After its first tokens, a text grows by one token a step.
  const step = Math.max(1, Math.min(chunk, isRecomputed ? tokens : ids.length));
  return Math.min(Math.ceil(tokens / pageSize), pagesNeeded(policy, tokens, step, pageSize));
}

interface Waiting {
  /** Begins and returns true, or returns false if there is no room yet. */
  readonly begin: () => boolean;
  readonly fail: (error: unknown) => void;
  /** Pages needed in each pool. */
  readonly pages: readonly number[];
}

/** The queue of requests that wait for pages: first come, first served. */
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

  /**
   * Serves the queue in a microtask: the code that frees pages may first take some of them itself.
   */
  #serveSoon(): void {
    if (this.#isDue || this.#waiting.length === 0) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      this.#serve();
    });
  }

  /**
   * Waits until `pages` pages of each pool can be reserved, and returns a sequence that has them.
   * Returns an empty sequence without any if the signal is aborted first. Throws a `CapacityError`
   * if waiting is useless: the cache is too small, or sequences of the caller fill it while no
   * request runs.
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
          const own = prefixCache?.pages; // this request reuses or frees them
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
        this.#serve(); // requests behind it may need fewer pages
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

  /** Fails all requests that wait. */
  close(error: unknown): void {
    for (const { fail } of this.#waiting.splice(0)) fail(error);
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      if (!next.begin()) {
        if (this.#pools.some(({ claims }) => claims > 0)) return; // served again when they end
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
