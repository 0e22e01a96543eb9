// A layer as a value. What distinguishes one layer from another is in its record and nowhere else: the forward pass
// reads traits, never the name of an architecture.

/** How a layer differs from others, of its model or of other models. */
export interface LayerTraits {
  /** W: tokens that a query sees, itself included; Infinity if it sees all. */
  readonly window: number;
}

/** Layers that see and forget alike, so that one page table serves them all. */
export interface CacheGroup {
  /** W, as their traits have it. */
  readonly window: number;
  /** Their numbers, ascending. */
  readonly layers: readonly number[];
}

/** The groups of a model's layers, in the order of their first layers: each layer is in one of them. */
export function cacheGroups(layers: readonly Pick<LayerTraits, "window">[]): CacheGroup[] {
  const groups = new Map<number, number[]>();
  for (const [i, { window }] of layers.entries()) {
    const group = groups.get(window);
    if (group) group.push(i);
    else groups.set(window, [i]);
  }
  return [...groups].map(([window, numbers]) => ({ window, layers: numbers }));
}
