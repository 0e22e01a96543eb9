// The shapes of a model's heads and of a cache that attention needs, and the sizes of its buffers.

import type { KvType } from "./kv-types.ts";

/** The shape of the heads and pages of a cache. */
export interface CacheShape {
  /** H: query heads. */
  readonly heads: number;
  /** G: key/value heads. */
  readonly kvHeads: number;
  /** E: head width. */
  readonly headWidth: number;
  /** P: tokens a page. */
  readonly pageSize: number;
  /** How its numbers are stored. */
  readonly kvType: KvType;
}

/** The shape of a layer's heads and of the cache's pages. */
export interface HeadShape extends CacheShape {
  /** Distance of the two numbers that rotate together: 1, or E/2. */
  readonly pairGap: number;
  /** Usually 1 / sqrt(E). */
  readonly scale: number;
}

/** The pages of one layer, [N, G, P, E] each. */
export interface LayerPages {
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
}

/** Floats of `partial.outputs` and pairs of `partial.states` for this many (token, split) pairs. */
export function partialSizes(shape: CacheShape, rows: number): { outputs: number; states: number } {
  return { outputs: rows * shape.heads * shape.headWidth, states: rows * shape.heads };
}

/** Floats of the rotated queries of `tokens` tokens. */
export function rotatedSize(shape: CacheShape, tokens: number): number {
  return tokens * 2 * shape.heads * shape.headWidth;
}
