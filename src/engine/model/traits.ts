// The traits of a layer as a value: what may differ between layers or models, derived once from the
// file. The forward pass reads traits, never the name of an architecture. What all layers share is
// in config.ts.

import type { CacheGroup } from "../../context/cache/cache-pages.ts";
import type { CacheShape, HeadShape } from "../../kernels/attention/head-shape.ts";
import type { ActivationFunction } from "../../kernels/reference.ts";
import type { Architecture } from "./architectures.ts";
import type { ModelMetadata } from "./model-metadata.ts";
import type { Rotation } from "./rotation.ts";

/** The types allow only values that can be run; a file with another is refused. */
export interface LayerTraits {
  /** RMSNorm over each head of queries and keys, before the rotation. */
  readonly headNorms: boolean;
  /** RMSNorm also behind attention and the feed-forward, before they are added to the stream. */
  readonly postNorms: boolean;
  /** How positions rotate queries and keys; equal rotations are one shared record. */
  readonly rotation: Rotation;
  /** W: tokens that a query sees, its own included; Infinity if it sees all. */
  readonly window: number;
  /** What scores are multiplied by: 1 / sqrt(E), unless the file says otherwise. */
  readonly scoreScale: number;
  /** c, if a score s is kept within it: c tanh(s / c). */
  readonly scoreCap: number | undefined;
  /** The activation function of the feed-forward, down(activation(gate x) * (up x)). */
  readonly activation: ActivationFunction;
}

/** Reads the traits of each layer, [L]. */
export function readTraits(
  metadata: ModelMetadata,
  { headNorms, postNorms, activation }: Architecture,
  { layers, headWidth }: { readonly layers: number; readonly headWidth: number },
  rotation: Rotation,
): LayerTraits[] {
  const scoreScale = metadata.nonzero("attention.scale", 1e-6, 1e6) ?? 1 / Math.sqrt(headWidth);
  const scoreCap = metadata.nonzero("attn_logit_softcapping", 1e-3, 1e6);
  const sliding = metadata.integer("attention.sliding_window", 0);
  // Without a pattern, all layers slide if there is a window.
  const slides = metadata.booleanPerLayer("attention.sliding_window_pattern", layers, 0);
  return slides.map((slides) => ({
    headNorms,
    postNorms,
    rotation,
    window: slides && sliding > 0 ? sliding : Number.POSITIVE_INFINITY,
    scoreScale,
    scoreCap,
    activation,
  }));
}

/** The shape of a layer's heads in a cache. */
export function headShape(
  shape: CacheShape,
  { rotation: { pairs, width }, scoreScale, scoreCap }: LayerTraits,
): HeadShape {
  const pairGap = pairs === "neighbours" ? 1 : width / 2;
  return { ...shape, pairGap, scale: scoreScale, scoreCap };
}

/**
 * The groups of a model's layers, in the order of their first layers: each layer is in one of them.
 */
export function cacheGroups(
  layers: readonly Pick<LayerTraits, "window">[],
): Omit<CacheGroup, "pages">[] {
  const groups = new Map<number, number[]>();
  for (const [i, { window }] of layers.entries()) {
    const group = groups.get(window);
    if (group) group.push(i);
    else groups.set(window, [i]);
  }
  return [...groups].map(([window, numbers]) => ({ window, layers: numbers }));
}

/** The largest W of any layer: how much of a text the model sees. */
export function widestWindow(layers: readonly Pick<LayerTraits, "window">[]): number {
  return Math.max(...layers.map(({ window }) => window));
}
