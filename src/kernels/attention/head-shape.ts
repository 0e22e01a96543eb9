// The shapes of a model's heads and of a cache that attention needs, and the sizes of its buffers.

import { MOST_RANGES, SPARE_RANGES } from "../adapter/tiling.ts";
import type { KvType } from "./kv-types.ts";
import { SHORT_PIECE } from "./work.ts";

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
  /** Distance of the two numbers that rotate together: 1, or R/2 if the first R of a head rotate. */
  readonly pairGap: number;
  /** Usually 1 / sqrt(E). */
  readonly scale: number;
  /** c, if a score s is kept within it: c tanh(s / c). */
  readonly scoreCap?: number | undefined;
  /** Tokens after a query that it sees, Infinity for all: those of an encoder. Default: 0. */
  readonly ahead?: number | undefined;
}

/** The pages of one layer, [N, G, P, E] each. */
export interface LayerPages {
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
}

/** Floats of a row of partial results: o [H, E], not yet divided, and (m, l) of each head. */
function partialRow({ heads, headWidth }: CacheShape): number {
  return heads * (headWidth + 4);
}

/** Floats of this many rows of partial results. */
export function partialSize(shape: CacheShape, rows: number): number {
  return rows * partialRow(shape);
}

/**
 * Rows of partial results that a step has room for in a binding of `bytes`: a step of `SHORT_PIECE`
 * tokens has its keys split as much as is sensible, a longer one has workgroups enough with less.
 */
export function partialRows(shape: CacheShape, bytes: number = Number.POSITIVE_INFINITY): number {
  const wanted = SHORT_PIECE * (MOST_RANGES + SPARE_RANGES);
  return Math.min(wanted, Math.floor(bytes / 4 / partialRow(shape)));
}

/** Floats of the rotated queries of `tokens` tokens. */
export function rotatedSize(shape: CacheShape, tokens: number): number {
  return tokens * 2 * shape.heads * shape.headWidth;
}
