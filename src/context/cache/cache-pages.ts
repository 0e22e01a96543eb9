// The pages of a cache and the sequences that share them, in integers.
// In this room: which text has which pages, and the buffers that hold them. Not in it: what a key
// sees (positions/), and how keys are computed and read (kernels/attention).

import { type AttentionPolicy, withSlidingWindow } from "../positions/attention-policy.ts";
import { PagePool } from "./page-pool.ts";
import { PageTable } from "./page-table.ts";
import { Sequence, type SequenceSpace } from "./sequence.ts";

/** Layers with the same window, which share page tables. */
export interface CacheGroup {
  readonly layers: readonly number[];
  /** The most tokens that a query of these layers sees, its own included; Infinity for all. */
  readonly window: number;
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
  }

  get losses(): number {
    return this.#losses;
  }

  /** Pages in use, of all groups. */
  get used(): number {
    return this.pools.reduce((sum, { size, free }) => sum + size - free, 0);
  }

  /** An empty sequence, under the policy of the cache or one of its own. */
  sequence(policy: AttentionPolicy = this.policy): Sequence {
    const tables = this.groups.map(
      ({ window }, i) =>
        new PageTable(
          this.pools[i]!,
          withSlidingWindow(policy, window, this.#context),
          this.pageSize,
        ),
    );
    return new Sequence(policy, tables, this);
  }

  /**
   * Marks the content of all pages as lost with the device: sequences have to be computed again.
   */
  lose(): void {
    this.#losses++;
  }
}
