import { type AttentionPolicy, withSlidingWindow } from "../positions/attention-policy.ts";
import { PagePool } from "./page-pool.ts";
import { PageTable } from "./page-table.ts";
import { Sequence, type SequenceSpace } from "./sequence.ts";

/** Layers that see and forget alike. */
export interface CacheGroup {
  readonly layers: readonly number[];
  /** Tokens that a query of these layers sees at most, itself included; Infinity: all. */
  readonly window: number;
  /** N: pages of the pool. */
  readonly pages: number;
}

export interface CachePagesOptions {
  readonly groups: readonly CacheGroup[];
  /** What queries see unless a sequence says otherwise. */
  readonly policy: AttentionPolicy;
  /** The most tokens of a text under full attention. */
  readonly context: number;
  /** P: tokens a page. */
  readonly pageSize: number;
  /** The most tokens of a step. */
  readonly chunk: number;
  readonly movesBeyond: number;
}

/** The pages of a cache and the sequences that share them. Integers only: a device may be lost, these stay. */
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

  /** What the pages held is gone with its device: sequences have to be computed again. */
  lose(): void {
    this.#losses++;
  }
}
