// Rotations and attention over a whole text in f64, by the rule of attention-policy.ts and the two rotations of a query that rotations.ts writes.

import {
  type AttentionPolicy,
  isVisible,
  sinkPosition,
} from "../../src/context/positions/attention-policy.ts";
import type { RopeFrequencies } from "../../src/context/positions/rope-scaling.ts";
import type { HeadShape } from "../../src/kernels/attention/head-shape.ts";
import { attend, type Numbers, rope } from "../../src/kernels/reference.ts";

/** One head vector turned to a position. */
export function turn(
  x: Numbers,
  { theta, magnitude }: RopeFrequencies,
  position: number,
  gap: number,
): Float64Array {
  return rope(
    Float64Array.from(x),
    theta.map((t) => t * position),
    gap,
    magnitude,
  );
}

/** Output [H, E] of the query at `position`; q [T, H, E], k and v [T, G, E] of the whole text, not rotated. */
export function streamingAttention(
  shape: HeadShape,
  policy: AttentionPolicy,
  frequencies: RopeFrequencies,
  { q, k, v }: { readonly q: Numbers; readonly k: Numbers; readonly v: Numbers },
  position: number,
): Float64Array {
  const { heads: H, kvHeads: G, headWidth: E, pairGap: gap, scale } = shape;
  const output = new Float64Array(H * E);
  const keys = position + 1;
  for (let head = 0; head < H; head++) {
    const group = Math.floor(head / (H / G));
    const row = (x: Numbers, token: number) =>
      x.subarray((token * G + group) * E, (token * G + group + 1) * E);
    const query = q.subarray((position * H + head) * E, (position * H + head + 1) * E);
    const near = turn(query, frequencies, position, gap);
    const far = turn(query, frequencies, sinkPosition(policy, position), gap);
    const score = (key: number) => {
      if (!isVisible(policy, key, position)) return Number.NEGATIVE_INFINITY;
      const side = key < policy.sinks ? far : near;
      return turn(row(k, key), frequencies, key, gap).reduce(
        (sum, x, i) => sum + x * side[i]! * scale,
        0,
      );
    };
    const values = new Float64Array(keys * E);
    for (let key = 0; key < keys; key++) values.set(row(v, key), key * E);
    output.set(attend(score, values, keys, E), head * E);
  }
  return output;
}
