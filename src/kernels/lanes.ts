// How wide workgroups are on an adapter, how much each does, and how their lanes work together.

import type { Device } from "./device.ts";

/** Workgroups that keep the threads of a software adapter busy to the end. */
const SOFTWARE_GROUPS = 24;

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

/**
 * Workgroups in the row of a token, for pages whose lanes stride over it: one for every `lanes` of its `count` items,
 * unless the tokens alone keep a software adapter busy, to which every workgroup costs as much as a dozen items.
 */
export function rowGroups(device: Device, count: number, lanes: number, tokens: number): number {
  const needed = Math.ceil(count / lanes);
  if (!device.info.isFallbackAdapter) return needed;
  return Math.min(needed, Math.ceil(SOFTWARE_GROUPS / tokens));
}

const TILE = 32; // of matmul.wgsl, rows and tokens
const LANES_TOKENS = 16; // TOKENS in matmul-lanes.wgsl
const LANES_ROWS = 384; // MOST there
const LANES_LANES = 8; // LANES there

/** The page that multiplies a matrix of n rows with several tokens on an adapter, and its workgroups: along n, along T. */
export function matmulTiling(device: Device): {
  readonly page: string;
  readonly grid: (n: number, tokens: number) => readonly [number, number];
} {
  if (device.info.isFallbackAdapter && oneSubgroup(device, LANES_LANES)) {
    return {
      page: "matmul-lanes",
      grid(n, tokens) {
        const tiles = Math.ceil(tokens / LANES_TOKENS);
        const most = Math.ceil(n / 32);
        const wanted = Math.min(most, Math.ceil(SOFTWARE_GROUPS / tiles));
        return [Math.max(wanted, Math.ceil(n / LANES_ROWS)), tiles];
      },
    };
  }
  return {
    page: "matmul",
    grid: (n, tokens) => [Math.ceil(n / TILE), Math.ceil(tokens / TILE)],
  };
}

/** Whether a workgroup of so many lanes is always one subgroup. */
function oneSubgroup(device: Device, lanes: number): boolean {
  const { subgroupMinSize, subgroupMaxSize } = device.info;
  return device.features.has("subgroups") && subgroupMinSize === lanes && subgroupMaxSize === lanes;
}

/** How sums meet over a workgroup of so many lanes. */
export function reduction(device: Device, lanes: number): string {
  return oneSubgroup(device, lanes) ? "reduce-subgroup" : "reduce";
}
