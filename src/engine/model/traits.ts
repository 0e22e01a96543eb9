// The traits of a layer as a value: what may differ between layers or models, derived once from the
// file. The forward pass reads traits, never the name of an architecture. What all layers share is
// in config.ts.

import type { CacheGroup } from "../../context/cache/cache-pages.ts";
import type { CacheShape, HeadShape } from "../../kernels/attention/head-shape.ts";
import type { ActivationFunction } from "../../kernels/reference.ts";
import type { Architecture } from "./architectures.ts";
import type { ModelMetadata } from "./model-metadata.ts";
import { type Rotation, slidingRotation } from "./rotation.ts";

/** The types allow only values that can be run; a file with another is refused. */
export interface LayerTraits {
  /**
   * Where a branch (attention, feed-forward) has norms: before it, behind it, before what it adds to
   * the stream, or both; or of the sum, which is the stream then.
   */
  readonly branchNorms: Architecture["branchNorms"];
  /** Whether the feed-forward reads what attention reads, instead of what attention has added to. */
  readonly parallel: boolean;
  /** Norms of queries and keys: of each head, of all heads at once, or of each by its own weights. */
  readonly headNorms: Architecture["headNorms"];
  /** Whether these are taken after the rotation instead of before it. */
  readonly normsRotated: boolean;
  /**
   * How positions rotate queries and keys; equal rotations are one shared record. Undefined if they
   * do not.
   */
  readonly rotation: Rotation | undefined;
  /** W: tokens that a query sees, its own included; Infinity if it sees all before it. */
  readonly window: number;
  /** Tokens after a query that it sees: none, or those of an encoder, Infinity for all. */
  readonly ahead: number;
  /** What scores are multiplied by: 1 / sqrt(E), unless the file says otherwise. */
  readonly scoreScale: number;
  /** c, if a score s is kept within it: c tanh(s / c). */
  readonly scoreCap: number | undefined;
  readonly activation: ActivationFunction;
  /** Whether the feed-forward is down(activation(gate x) * (up x)) instead of down(activation(up x)). */
  readonly gated: boolean;
}

/** Reads the traits of each layer, [L]. */
export function readTraits(
  metadata: ModelMetadata,
  architecture: Architecture,
  { layers, headWidth }: { readonly layers: number; readonly headWidth: number },
  rotation: Rotation,
): LayerTraits[] {
  const { branchNorms, parallel, headNorms, normsRotated, activation, gated } = architecture;
  const { rotates, isEncoder } = architecture;
  const scoreScale = metadata.nonzero("attention.scale", 1e-6, 1e6) ?? 1 / Math.sqrt(headWidth);
  const scoreCap = metadata.nonzero("attn_logit_softcapping", 1e-3, 1e6);
  const window = metadata.integer("attention.sliding_window", 0);
  // Without a pattern, all layers slide if there is a window.
  const pattern = metadata.booleanPerLayer("attention.sliding_window_pattern", layers, 0);
  const own = architecture.slidingRotation ? slidingRotation(metadata, rotation) : rotation;
  return pattern.map((inPattern, i) => {
    const slides = inPattern && window > 0;
    const half = Math.floor(window / 2); // of a window around a query
    const [behind, ahead] = slides ? [half + 1, half] : [Infinity, Infinity];
    const sight = isEncoder
      ? { window: behind, ahead }
      : { window: slides ? window : Infinity, ahead: 0 };
    return {
      ...{
        branchNorms,
        parallel,
        headNorms,
        normsRotated,
        activation,
        gated,
        scoreScale,
        scoreCap,
      },
      rotation: rotates({ i, slides }) ? (slides ? own : rotation) : undefined,
      ...sight,
    };
  });
}

/** The shape of a layer's heads in a cache. */
export function headShape(
  shape: CacheShape,
  { rotation, scoreScale, scoreCap, ahead }: LayerTraits,
): HeadShape {
  const pairGap = rotation?.pairs === "halves" ? rotation.width / 2 : 1;
  return { ...shape, pairGap, scale: scoreScale, scoreCap, ahead };
}

/** Layers that see alike and rotate alike. */
export interface LayerGroup extends Pick<CacheGroup, "layers" | "window"> {
  readonly ahead: number;
  readonly rotation: Rotation | undefined;
}

/**
 * The groups of a model's layers, in the order of their first layers: each layer is in one of them.
 */
export function cacheGroups(
  layers: readonly Pick<LayerTraits, "window" | "ahead" | "rotation">[],
): LayerGroup[] {
  const groups: (LayerGroup & { readonly layers: number[] })[] = [];
  for (const [i, { window, ahead, rotation }] of layers.entries()) {
    const group = groups.find((other) => other.window === window && other.rotation === rotation);
    if (group) group.layers.push(i);
    else groups.push({ window, ahead, rotation, layers: [i] });
  }
  return groups;
}

/**
 * Whether the layers that see farthest rotate as the file says: a user may ask for another scaling
 * or base then.
 */
export function canScaleRope(
  layers: readonly Pick<LayerTraits, "window" | "rotation">[],
  rope: Rotation,
): boolean {
  const widest = widestWindow(layers);
  return layers.some(({ window, rotation }) => window === widest && rotation === rope);
}

/** The largest W of any layer: how much of a text the model sees. */
export function widestWindow(layers: readonly Pick<LayerTraits, "window">[]): number {
  return Math.max(...layers.map(({ window }) => window));
}
