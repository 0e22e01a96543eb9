// A text that stays in the cache between generations: the next one computes only what differs.

import type { PagePool } from "../../context/cache/page-pool.ts";
import type { PageTable } from "../../context/cache/page-table.ts";
import type { AttentionPolicy } from "../../context/positions/attention-policy.ts";

/** As much of a model as takes tokens back. */
interface Sequences {
  sequence(policy: AttentionPolicy): PageTable;
  truncate(sequence: PageTable, tokens: readonly number[]): boolean;
}

/** A text and the sequence that holds its keys and values. */
interface Held {
  readonly sequence: PageTable;
  /** What the sequence has been given, `sequence.length` tokens. */
  readonly ids: readonly number[];
}

/**
 * Keeps the text of the last generation that was given it. Its pages are its own only as long as nobody needs them: a
 * pool that is short takes them back, and the next generation starts anew.
 */
export class PrefixCache implements Disposable {
  readonly #sequences: Sequences;
  readonly #idle: IdlePrefixes;
  #held: Held | undefined;

  constructor(sequences: Sequences, idle: IdlePrefixes) {
    this.#sequences = sequences;
    this.#idle = idle;
  }

  /** Whether it keeps pages of this model's cache. */
  isOf(model: Sequences): boolean {
    return this.#sequences === model;
  }

  /** Pages held. */
  get pages(): number {
    return this.#held?.sequence.entries.length ?? 0;
  }

  /** The tokens held. */
  get ids(): readonly number[] {
    return this.#held?.ids ?? [];
  }

  /**
   * A sequence for a text, which holds its first `sequence.length` tokens already: as many as it has in common with the text
   * held, but not the last, whose logits are wanted. What was held is in it, and held here no more.
   */
  take(ids: readonly number[], policy: AttentionPolicy): PageTable {
    const held = this.#held;
    this.#held = undefined;
    this.#idle.delete(this);
    if (!held) return this.#sequences.sequence(policy);
    const { sinks, window } = held.sequence.policy;
    const common = Math.min(commonPrefix(held.ids, ids), ids.length - 1);
    const isSame = sinks === policy.sinks && window === policy.window;
    if (isSame && this.#sequences.truncate(held.sequence, ids.slice(0, common))) {
      return held.sequence;
    }
    held.sequence.clear();
    return this.#sequences.sequence(policy);
  }

  /** Holds a sequence, which has been given some of `ids`, or a few tokens more that are of no use; instead of what it held. */
  give(sequence: PageTable, ids: readonly number[]): void {
    this.clear();
    sequence.onEvict = () => {};
    sequence.reserve(0);
    const known = ids.slice(0, sequence.length);
    if (!this.#sequences.truncate(sequence, known)) {
      sequence.clear();
      return;
    }
    this.#held = { sequence, ids: known };
    this.#idle.add(this);
  }

  /** Gives the pages back; the next generation starts anew. */
  clear(): void {
    this.#held?.sequence.clear();
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

  constructor(pool: PagePool) {
    pool.onShort = (count) => this.giveWay(() => pool.free >= count);
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
