// One run of rope-store over pages that a test lays out itself.

import { ropeStore } from "../../src/kernels/attention/attention.ts";
import { type HeadShape, rotatedSize } from "../../src/kernels/attention/head-shape.ts";
import { packKv } from "../../src/kernels/attention/kv-types.ts";
import type { TestGpu } from "./gpu.ts";

/** q [T, H, E], k and v [T, G, E] side by side, a token a row. */
export function besideOneAnother(
  { heads: H, kvHeads: G, headWidth: E }: HeadShape,
  tokens: number,
  { q, k, v }: { q: Float32Array; k: Float32Array; v: Float32Array },
): number[] {
  const row = (x: Float32Array, heads: number, t: number) =>
    x.subarray(t * heads * E, (t + 1) * heads * E);
  return Array.from({ length: tokens }, (_, t) => [
    ...row(q, H, t),
    ...row(k, G, t),
    ...row(v, G, t),
  ]).flat();
}

/**
 * The rotated queries, and the words of the keys and values of pages that held nothing but 7 before: what is missing is
 * zero, and goes to pages beyond.
 */
export async function rotateAndStore(
  gpu: TestGpu,
  shape: HeadShape,
  T: number,
  rotations: Float32Array,
  given: {
    readonly q?: Float32Array;
    readonly k?: Float32Array;
    readonly v?: Float32Array;
    readonly slots?: readonly number[];
    readonly pages?: number;
  },
) {
  const { heads: H, kvHeads: G, headWidth: E, pageSize: P, kvType } = shape;
  const {
    q = new Float32Array(T * H * E),
    k = new Float32Array(T * G * E),
    v = new Float32Array(T * G * E),
    slots = Array.from({ length: T }, (_, t) => t),
    pages = Math.ceil(T / P),
  } = given;
  const qkv = await gpu.activations(T, (H + 2 * G) * E, besideOneAnother(shape, T, { q, k, v }));
  const table = await gpu.buffer(rotations);
  const to = await gpu.buffer(Uint32Array.from(slots));
  const rotated = await gpu.buffer(new Float32Array(rotatedSize(shape, T)));
  const sevens = packKv(kvType, new Float32Array(pages * G * P * E).fill(7));
  const [keys, values] = [await gpu.buffer(sevens), await gpu.buffer(sevens)];
  const layer = { keys, values };
  const tokens = { qk: qkv, qkv, rotations: table, slots: to, rotated };
  await gpu.run(ropeStore(gpu.one, { label: "rope", shape, tokens, pages: layer }), { tokens: T });
  const result = {
    rotated: await gpu.readFloats(rotated),
    keys: new Uint32Array(await gpu.device.read(keys)),
    values: new Uint32Array(await gpu.device.read(values)),
  };
  gpu.release(qkv, table, to, rotated, keys, values);
  return result;
}
