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
  /** Pages in each pool that come to the new text, or are freed by it. */
  pagesFor(ids: readonly number[], policy: AttentionPolicy): readonly number[];
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
  #text: readonly number[] = [];
  #isInUse = false;

  constructor(sequences: Sequences, idle: IdlePrefixes) {
    this.#sequences = sequences;
    this.#idle = idle;
  }

  /** Whether it keeps pages of this model's cache. */
  isOf(model: Sequences): boolean {
    return this.#sequences === model;
  }

  pagesFor(ids: readonly number[], policy: AttentionPolicy): readonly number[] {
    const length = this.#common(ids, policy);
    return this.#held?.tables.map((table) => table.worth(length)) ?? [];
  }

  /** The tokens held. */
  get ids(): readonly number[] {
    return this.#held?.ids ?? [];
  }

  /** The whole text of the last generation: its last token may be chosen, but not computed. */
  get text(): readonly number[] {
    return this.#text;
  }

  /** Whether a generation has taken the text out. */
  get isInUse(): boolean {
    return this.#isInUse;
  }

  /** The sequence held; undefined if it is in use, or was freed for another text. */
  get held(): Sequence | undefined {
    return this.#held;
  }

  /**
   * Takes the held sequence out for a text and cuts it to their common prefix, `sequence.length`
   * tokens, but without the last token of the text, whose logits are wanted. An empty sequence if
   * they have nothing in common.
   */
  take(ids: readonly number[], policy: AttentionPolicy): Sequence {
    const held = this.#held;
    const common = this.#common(ids, policy);
    this.#held = undefined;
    this.#isInUse = true;
    this.#idle.delete(this);
    if (common > 0 && held?.truncate(common)) return held;
    held?.clear();
    return this.#sequences.sequence(policy);
  }

  /** Tokens that the held text has in common with another, whose last one is wanted anew. */
  #common(ids: readonly number[], { sinks, window }: AttentionPolicy): number {
    const held = this.#held;
    if (held?.policy.sinks !== sinks || held.policy.window !== window) return 0;
    return Math.min(commonPrefix(held.ids, ids), ids.length - 1);
  }

  /**
   * Holds a sequence from now on, as far as it has the tokens of `text`. The rest is dropped: steps
   * that were queued ahead of the text.
   */
  give(sequence: Sequence, text: readonly number[]): void {
    sequence.onEvict = () => {};
    sequence.reserve([]);
    this.#isInUse = false;
    if (sequence.length === 0) return; // it never began, or failed: keep what is held
    this.clear();
    this.#text = text;
    if (!sequence.truncate(Math.min(text.length, sequence.length))) {
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
    this.#text = [];
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
export function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
