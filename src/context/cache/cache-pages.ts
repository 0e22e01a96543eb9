// The pages of a cache and the sequences that share them, in integers.
// In this room: which text has which pages, and the buffers that hold them. Not in it: what a key
// sees (positions/), and how keys are computed and read (kernels/attention).

import { type AttentionPolicy, withSlidingWindow } from "../positions/attention-policy.ts";
import { PageIndex } from "./page-index.ts";
import { PagePool } from "./page-pool.ts";
import { PageTable } from "./page-table.ts";
import { Sequence, type SequenceSpace } from "./sequence.ts";

/** Layers with the same window, which share page tables. */
export interface CacheGroup {
  readonly layers: readonly number[];
  /** The most tokens that a query of these layers sees, its own included; Infinity for all. */
  readonly window: number;
  /** Tokens after a query that it sees, Infinity for all: those of an encoder. Default: 0. */
  readonly ahead?: number | undefined;
  /** N: pages of the pool. */
  readonly pages: number;
}

export interface CachePagesOptions {
  readonly groups: readonly CacheGroup[];
  /** The attention policy of sequences that have none of their own. */
  readonly policy: AttentionPolicy;
  /** The most tokens of a text under full attention. */
  readonly context: number;
  /** P: tokens a page. */
  readonly pageSize: number;
  /** The most tokens of a step. */
  readonly chunk: number;
  readonly movesBeyond: number;
  /** Whether texts with the same beginning share the pages that hold it. Default: true. */
  readonly prefixes?: boolean | undefined;
}

/**
 * The pages of a cache and the sequences that share them. Integers only, so it outlives a lost
 * device.
 */
export class CachePages implements SequenceSpace {
  readonly groups: readonly CacheGroup[];
  /** A pool for each group. */
  readonly pools: readonly PagePool[];
  readonly policy: AttentionPolicy;
  readonly pageSize: number;
  readonly chunk: number;
  readonly movesBeyond: number;
  readonly index: PageIndex | undefined;
  readonly #context: number;
  #losses = 0;

  constructor(options: CachePagesOptions) {
    this.groups = options.groups;
    this.pools = options.groups.map(({ pages }) => new PagePool(pages));
    this.policy = options.policy;
    this.pageSize = options.pageSize;
    this.chunk = options.chunk;
    this.movesBeyond = options.movesBeyond;
    this.#context = options.context;
    const { prefixes = true, pageSize } = options;
    if (prefixes) this.index = new PageIndex(this.pools, pageSize);
  }

  get losses(): number {
    return this.#losses;
  }

  /** Pages in use, of all groups. */
  get used(): number {
    return this.pools.reduce((sum, { size, free }) => sum + size - free, 0);
  }

  /** Pages that no sequence uses, of all groups, and that a later text may find. */
  get kept(): number {
    return this.pools.reduce((sum, { idle }) => sum + idle, 0);
  }

  /** An empty sequence, under the policy of the cache or one of its own. */
  sequence(policy: AttentionPolicy = this.policy): Sequence {
    return new Sequence(policy, this.#tables(policy), this);
  }

  #tables(policy: AttentionPolicy): PageTable[] {
    return this.groups.map(
      ({ window }, i) =>
        new PageTable(
          this.pools[i]!,
          withSlidingWindow(policy, window, this.#context),
          this.pageSize,
        ),
    );
  }

  /**
   * How many pages of each pool a text would find that other texts use: it need not take them, unless
   * a window lets them go. The last of `ids` is not looked for, since something is wanted of it.
   */
  shared(ids: readonly number[], policy: AttentionPolicy): number[] {
    const tables = this.#tables(policy);
    const found = this.index?.find(policy, ids, ids.length - 1, tables);
    return this.pools.map((pool, i) => {
      const isKept = tables[i]!.policy.window === Number.POSITIVE_INFINITY;
      const entries = (isKept && found?.entries[i]) || [];
      return entries.filter(({ page }) => pool.users(page) > 0).length;
    });
  }

  /**
   * Frees all pages, whose content is lost with the device: sequences have to be computed again.
   */
  lose(): void {
    this.#losses++;
    this.index?.clear();
    for (const pool of this.pools) pool.reset();
  }
}
