// How wide workgroups are on an adapter, how much each does, and how their lanes work together.

import type { Device } from "./device.ts";

/** Lanes of a workgroup that sums over a row: one subgroup of the adapter, between 8 and 32. */
export function lanesOf(device: Device): number {
  return Math.min(32, Math.max(8, device.info.subgroupMaxSize ?? 32));
}

/** Lanes of an attention workgroup, each of which holds at most eight cells of a head: a power of two. */
export function attentionLanes(device: Device, headWidth: number): number {
  return Math.max(lanesOf(device), 2 ** Math.ceil(Math.log2(headWidth / 32)));
}

/**
 * Rows of a matrix [n, k] that a workgroup of `matvec` computes. A GPU has to be filled with workgroups; a software
 * adapter has a few threads, and pays for every load of the vector.
 */
export function matvecRows(device: Device, n: number): number {
  if (!device.info.isFallbackAdapter) return 8;
  return n >= 1024 ? 64 : 32;
}

/** How sums meet over a workgroup of so many lanes. */
export function reduction(device: Device, lanes: number): string {
  const { subgroupMinSize, subgroupMaxSize } = device.info;
  const oneSubgroup =
    device.features.has("subgroups") && subgroupMinSize === lanes && subgroupMaxSize === lanes;
  return oneSubgroup ? "reduce-subgroup" : "reduce";
}
