// The cost of attention by the length of a text, counted, not measured: visible keys, operations,
// bytes of cache read.

import type { AttentionPolicy } from "./attention-policy.ts";

/** What the cost of attention depends on. */
interface AttentionShape {
  /** L */
  readonly layers: number;
  /** H */
  readonly heads: number;
  /** G */
  readonly kvHeads: number;
  /** E */
  readonly headWidth: number;
}

/** Keys that the query at `position` sees, itself included. */
export function visibleKeys({ sinks, window }: AttentionPolicy, position: number): number {
  const inWindow = Math.min(position + 1, window);
  return inWindow + Math.min(sinks, position + 1 - inWindow);
}

/**
 * Keys that all queries of a text of `length` tokens see together: length (length + 1) / 2 under
 * full attention.
 */
export function visiblePairs({ sinks, window }: AttentionPolicy, length: number): number {
  const triangle = (n: number) => (n * (n + 1)) / 2;
  const within = Math.min(length, window);
  const beyond = length - within; // queries that do not see every token
  const withinSinks = Math.min(beyond, sinks);
  const seenInWindow = triangle(within) + beyond * (beyond > 0 ? window : 0);
  // The query that is the k-th beyond the window sees min(k, S) sinks outside of it.
  return seenInWindow + triangle(withinSinks) + (beyond - withinSinks) * sinks;
}

/**
 * Floating-point operations of attention for this many (query, key) pairs: a multiplication and an
 * addition for each of E numbers of a key and again of a value, in H heads of L layers.
 */
export function attentionOperations(shape: AttentionShape, pairs: number): number {
  return 4 * shape.heads * shape.headWidth * shape.layers * pairs;
}

/** Bytes of keys and values of one token: 2 G E numbers of `numberBytes` in each of L layers. */
export function tokenBytes(
  { layers, kvHeads, headWidth }: AttentionShape,
  numberBytes: number,
): number {
  return 2 * kvHeads * headWidth * numberBytes * layers;
}
