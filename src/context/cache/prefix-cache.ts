// Keeps a text in the cache between generations, so that the next one computes only what differs.

import type { AttentionPolicy } from "../positions/attention-policy.ts";
import type { PagePool } from "./page-pool.ts";
import type { Sequence } from "./sequence.ts";

/** Makes sequences: a model. */
interface Sequences {
  sequence(policy: AttentionPolicy): Sequence;
}

/** What a new text may begin with, if pages of the cache hold it already. */
export interface Prefix {
  /** Pages held in each pool, which come to the new text or are given back. */
  readonly pages: readonly number[];
  /** A sequence whose ids are the first of a text, but not the last, whose logits are wanted. */
  take(ids: readonly number[], policy: AttentionPolicy): Sequence;
}

/**
 * Keeps the text of the last generation that used it. If a pool runs short of pages, those of idle
 * texts are freed, and the next generation computes its whole prompt.
 */
export class PrefixCache implements Disposable, Prefix {
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
   * Takes the held sequence out for a text and cuts it to their common prefix, `sequence.length`
   * tokens, but without the last token of the text, whose logits are wanted. An empty sequence if
   * they have nothing in common.
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
   * Holds the first `length` tokens of a sequence from now on. The rest is dropped: steps that were
   * queued ahead of the text.
   */
  give(sequence: Sequence, length: number): void {
    sequence.onEvict = () => {};
    sequence.reserve([]);
    if (sequence.length === 0) return; // it never began, or failed: keep what is held
    this.clear();
    if (!sequence.truncate(Math.min(length, sequence.length))) {
      sequence.clear();
      return;
    }
    this.#held = sequence;
    this.#idle.add(this);
  }

  /** Frees the pages; the next generation computes its whole prompt. */
  clear(): void {
    this.#held?.clear();
    this.#held = undefined;
    this.#idle.delete(this);
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}

/**
 * Texts that are held but not in use, the longest idle first. They are freed if a pool runs short.
 */
export class IdlePrefixes {
  readonly #idle = new Set<PrefixCache>();

  constructor(pools: readonly PagePool[]) {
    for (const pool of pools) pool.onShort = (count) => this.giveWay(() => pool.free >= count);
  }

  /** Frees idle texts until there is enough room, but never `kept`. */
  giveWay(isEnough: () => boolean, kept?: Prefix): void {
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

/** The length of the common prefix of two texts, in tokens. */
function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
