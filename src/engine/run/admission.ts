// Which requests may begin. A request that has begun finds a page for every token that it may have: the most pages that it can
// come to hold are reserved before its first step. One that there are too few for waits, and those behind it wait, too.

import type { PagePool } from "../../context/cache/page-pool.ts";
import type { PageTable } from "../../context/cache/page-table.ts";
import { type AttentionPolicy, pagesNeeded } from "../../context/positions/attention-policy.ts";
import { CapacityError } from "../../kernels/gpu/device.ts";
import type { IdlePrefixes, PrefixCache } from "../tasks/prefix-cache.ts";

/** A text that is to be computed. */
export interface TextRequest {
  /** Its tokens, or as many as it begins with. */
  readonly ids: readonly number[];
  /** The most tokens that it may come to have. Default: those. */
  readonly tokens?: number | undefined;
  /** Default: the engine's. */
  readonly policy?: AttentionPolicy | undefined;
  /** What it may go on from. */
  readonly prefixCache?: PrefixCache | undefined;
  /** Ends its waiting. */
  readonly signal?: AbortSignal | undefined;
}

/** The most pages that a request comes to hold while it takes at most `chunk` tokens at a time. */
export function pagesOf(
  { ids, tokens = ids.length }: TextRequest,
  policy: AttentionPolicy,
  chunk: number,
  pageSize: number,
): number {
  // Beyond what it begins with, a text takes one token at a time.
  const step = Math.max(1, Math.min(chunk, ids.length));
  return Math.min(Math.ceil(tokens / pageSize), pagesNeeded(policy, tokens, step, pageSize));
}

interface Waiting {
  /** Begins, or says that it cannot yet. */
  readonly begin: () => boolean;
  readonly fail: (error: unknown) => void;
  readonly pages: number;
}

/** Requests that wait for pages, first come, first served. */
export class Admission {
  readonly #pool: PagePool;
  readonly #idle: IdlePrefixes;
  readonly #waiting: Waiting[] = [];
  #isDue = false;

  constructor(pool: PagePool, idle: IdlePrefixes) {
    this.#pool = pool;
    this.#idle = idle;
    pool.onFree = () => {
      if (this.#isDue || this.#waiting.length === 0) return;
      this.#isDue = true;
      // Whatever gives pages back may be about to take some of them.
      queueMicrotask(() => {
        this.#isDue = false;
        this.#serve();
      });
    };
  }

  /**
   * A sequence for a request with `pages` pages reserved for it, when there are as many. Where its signal is raised first, an empty sequence without any. Throws a `CapacityError` where waiting is of
   * no use: the cache is too small, or sequences that the caller has made hold it while no request runs.
   */
  admit(
    { ids, prefixCache, signal }: TextRequest,
    pages: number,
    sequence: () => PageTable,
    take: (prefixCache: PrefixCache) => PageTable,
  ): Promise<PageTable> {
    if (pages > this.#pool.size) {
      const text = `${ids.length} tokens`;
      return Promise.reject(
        new CapacityError(
          `A request that begins with ${text} needs ${pages} pages of the cache, which has ${this.#pool.size}: ` +
            "load with a larger context, or with an attention window that forgets.",
        ),
      );
    }
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        pages,
        begin: () => {
          const own = prefixCache?.pages ?? 0; // it comes to this request, or is given back
          const isRoom = () => pages <= this.#pool.availableTo() + own;
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
        if (this.#pool.claims > 0) return; // they end, and then it is looked again
        const { size } = this.#pool;
        const free = this.#pool.availableTo();
        next.fail(
          new CapacityError(
            `The cache is full: ${next.pages} pages are needed, ${free} of ${size} are free, and no request runs that would give ` +
              "others back. Clear the sequences that hold them, or load with more sequences.",
          ),
        );
      }
      this.#waiting.shift();
    }
  }
}
