// A text that stays in the cache between generations: the next one computes only what differs.

import type { AttentionPolicy } from "../positions/attention-policy.ts";
import type { PagePool } from "./page-pool.ts";
import type { Sequence } from "./sequence.ts";

/** What sequences are made by. */
interface Sequences {
  sequence(policy: AttentionPolicy): Sequence;
}

/**
 * Keeps the text of the last generation that was given it. Its pages are its own only as long as no other text needs them: a
 * pool that is short takes them back, and the next generation starts anew.
 */
export class PrefixCache implements Disposable {
  readonly #sequences: Sequences;
  readonly #idle: IdlePrefixes;
  #held: Sequence | undefined;

  constructor(sequences: Sequences, idle: IdlePrefixes) {
    this.#sequences = sequences;
    this.#idle = idle;
  }

  /** Whether it keeps pages of this model's cache. */
  isOf(model: Sequences): boolean {
    return this.#sequences === model;
  }

  /** Pages held in each pool of the cache. */
  get pages(): readonly number[] {
    return this.#held?.tables.map(({ entries }) => entries.length) ?? [];
  }

  /** The tokens held. */
  get ids(): readonly number[] {
    return this.#held?.ids ?? [];
  }

  /**
   * A sequence for a text, which holds its first `sequence.length` tokens already: as many as it has in common with the text
   * held, but not the last, whose logits are wanted. What was held is in it, and held here no more.
   */
  take(ids: readonly number[], policy: AttentionPolicy): Sequence {
    const held = this.#held;
    this.#held = undefined;
    this.#idle.delete(this);
    if (!held) return this.#sequences.sequence(policy);
    const { sinks, window } = held.policy;
    const common = Math.min(commonPrefix(held.ids, ids), ids.length - 1);
    const isSame = sinks === policy.sinks && window === policy.window;
    if (isSame && held.truncate(common)) return held;
    held.clear();
    return this.#sequences.sequence(policy);
  }

  /**
   * Holds a sequence instead of what it held, up to `length` tokens: those beyond, of steps that were ahead of the text, are
   * of no use.
   */
  give(sequence: Sequence, length: number): void {
    sequence.onEvict = () => {};
    sequence.reserve([]);
    if (sequence.length === 0) return; // it never began, or failed: what is held is still of use
    this.clear();
    if (!sequence.truncate(Math.min(length, sequence.length))) {
      sequence.clear();
      return;
    }
    this.#held = sequence;
    this.#idle.add(this);
  }

  /** Gives the pages back; the next generation starts anew. */
  clear(): void {
    this.#held?.clear();
    this.#held = undefined;
    this.#idle.delete(this);
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}

/** The texts that are held and not worked on, the longest idle first: they go when a pool is short. */
export class IdlePrefixes {
  readonly #idle = new Set<PrefixCache>();

  constructor(pools: readonly PagePool[]) {
    for (const pool of pools) pool.onShort = (count) => this.giveWay(() => pool.free >= count);
  }

  /** They go until there is enough, but for one. */
  giveWay(isEnough: () => boolean, kept?: PrefixCache): void {
    for (const prefix of this.#idle) {
      if (isEnough()) break;
      if (prefix !== kept) prefix.clear();
    }
  }

  add(prefix: PrefixCache): void {
    this.#idle.add(prefix);
  }

  delete(prefix: PrefixCache): void {
    this.#idle.delete(prefix);
  }
}

/** How many tokens two texts begin with alike. */
function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
