// How wide workgroups are on an adapter, how much each does, and how their lanes work together.

import type { Device } from "../gpu/device.ts";
import type { KernelLibrary } from "../gpu/kernel.ts";
import type { Placement } from "../weights/formats/format.ts";

/** Workgroups that keep the threads of a software adapter busy to the end. */
const SOFTWARE_GROUPS = 24;

/** Lanes of the pages that are written for subgroups of eight, those of llvmpipe. */
export const EIGHT = 8;

/** Whether an adapter gets the pages that are written for software adapters with subgroups of eight, which read textures. */
export function readsInEights(device: Device): boolean {
  const texturesRead = device.languageFeatures.has("readonly_and_readwrite_storage_textures");
  return device.info.isFallbackAdapter && oneSubgroup(device, EIGHT) && texturesRead;
}

/** Lanes of a workgroup that sums over a row: one subgroup of the adapter, between 8 and 32. */
export function lanesOf(device: Device): number {
  return Math.min(32, Math.max(8, device.info.subgroupMaxSize ?? 32));
}

/** Lanes of an attention workgroup, each of which holds at most eight cells of a head: a power of two. */
export function attentionLanes(device: Device, headWidth: number): number {
  return Math.max(lanesOf(device), 2 ** Math.ceil(Math.log2(headWidth / 32)));
}

/** Slots of a page table that fill a workgroup of attention. */
const SLOTS_PER_SPLIT = 256;

/**
 * Parts into which attention splits the slots that about `groups` workgroups would take otherwise. A software adapter has
 * enough with a few for each of its threads, and to merge parts is one more dispatch.
 */
export function attentionSplits(device: Device, slots: number, groups: number): number {
  const splits = Math.ceil(slots / SLOTS_PER_SPLIT);
  if (!device.info.isFallbackAdapter) return splits;
  return Math.min(splits, Math.ceil(SOFTWARE_GROUPS / 2 / groups));
}

/** A page that multiplies, and what it is put together with beside a weight format. */
interface Tiling {
  readonly page: string;
  readonly fragments: readonly string[];
}

export interface MatvecTiling extends Tiling {
  readonly overrides: Readonly<Record<string, number>> & { readonly ROWS: number };
}

export interface MatmulTiling extends Tiling {
  readonly overrides?: Readonly<Record<string, number>>;
  /** Workgroups along n, along T. */
  readonly grid: (n: number, tokens: number) => readonly [number, number];
}

/** What is found out about an adapter where it is first met. */
export interface Tuning {
  /** By about how many workgroups the product of a matrix with one vector is shared. */
  readonly workgroups: number;
  /** Whether its subgroup matrices, if it has any, multiply right. */
  readonly matrices: boolean;
}

/**
 * Workgroups that a product of one vector is shared by where nobody has measured how many suit an adapter: a GPU has to be
 * filled with them; a software adapter has a few threads, and pays for every load of the vector.
 */
export function usualWorkgroups(device: Device): number {
  return device.info.isFallbackAdapter ? 16 : 512;
}

/**
 * The page that multiplies a matrix of n rows, placed so, with one vector on an adapter, and the rows of a workgroup: as many
 * as leave about `workgroups` of them that have as much to do, a multiple of `least`; of `matvec` a power of two, since
 * compilers unroll them. For the threads of a CPU a shorter workgroup comes after them, or after some times as many: it falls
 * to the thread that started first, in the time until the one that was woken last is done.
 */
export function matvecTiling(
  { device, workgroups }: Pick<KernelLibrary, "device" | "workgroups">,
  placement: Placement,
  n: number,
  least: 8 | 16,
): MatvecTiling {
  if (placement === "interleaved") {
    const times = Math.max(1, Math.ceil((n / EIGHT_ROWS - SHORT) / workgroups));
    const share = n / (times * workgroups + SHORT);
    const overrides = { ROWS: Math.ceil(share / least) * least };
    return { page: "cpu/matvec-cpu", fragments: ["cpu/reduce-eight"], overrides };
  }
  const LANES = lanesOf(device);
  const most = device.info.isFallbackAdapter ? MATVEC_ROWS : CARD_ROWS;
  const ROWS = Math.min(most, Math.max(least, 2 ** Math.floor(Math.log2(n / workgroups))));
  return {
    page: "matrix/matvec",
    fragments: [reduction(device, LANES)],
    overrides: { LANES, ROWS },
  };
}

const MATVEC_ROWS = 64; // MOST of matvec.wgsl
/** Of a card, whose compilers unroll them all: a long matrix has workgroups enough for any. */
const CARD_ROWS = 32;
const EIGHT_ROWS = 1024; // MOST of matvec-cpu.wgsl
/** Of a workgroup: about what a thread does while another one wakes. */
const SHORT = 0.35;

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
const LANES_TOKENS = 16; // TOKENS in matmul-cpu.wgsl
const LANES_ROWS = 384; // MOST there

/** The shapes of subgroup matrices that there are pages for, the largest first: M x N x K. */
const MATRICES = ["16x16x16", "16x8x16", "8x16x16", "16x8x8", "8x8x8"];

/**
 * The shape of the subgroup matrices with which an adapter multiplies several tokens: of halves, summed in f32. A software
 * adapter may offer some, but only imitates them; where subgroups differ in size, nobody knows how many share a workgroup.
 */
export function matrixShape(device: Device): string | undefined {
  const { isFallbackAdapter, subgroupMinSize, subgroupMaxSize } = device.info;
  if (isFallbackAdapter || subgroupMinSize !== subgroupMaxSize) return undefined;
  if (!device.features.has("shader-f16") || !device.languageFeatures.has("subgroup_id"))
    return undefined;
  if (4 * subgroupMaxSize! > device.limits.maxComputeInvocationsPerWorkgroup) return undefined;
  const offered = device.matrixConfigs
    .filter((config) => config.componentType === "f16" && config.resultComponentType === "f32")
    .filter(
      ({ M, N }) => MATRICES_BYTES + 32 * M * N <= device.limits.maxComputeWorkgroupStorageSize,
    )
    .map(({ M, N, K }) => `${M}x${N}x${K}`);
  return MATRICES.find((shape) => offered.includes(shape));
}

const MATRICES_TILE = 64; // TILE of matmul-matrices.wgsl, rows and tokens
const MATRICES_BYTES = 20480; // of its w_tile and x_tile

/** The page that multiplies a matrix of n rows with several tokens on an adapter. */
export function matmulTiling({
  device,
  matrices,
}: Pick<KernelLibrary, "device" | "matrices">): MatmulTiling {
  if (readsInEights(device)) {
    return {
      page: "cpu/matmul-cpu",
      fragments: ["cpu/reduce-eight"],
      grid(n, tokens) {
        const tiles = Math.ceil(tokens / LANES_TOKENS);
        const most = Math.ceil(n / 32);
        const wanted = Math.min(most, Math.ceil(SOFTWARE_GROUPS / tiles));
        return [Math.max(wanted, Math.ceil(n / LANES_ROWS)), tiles];
      },
    };
  }
  const shape = matrices ? matrixShape(device) : undefined;
  const tile = shape ? MATRICES_TILE : TILE;
  return {
    page: shape ? "matrix/matmul-matrices" : "matrix/matmul",
    fragments: shape ? ["matrix/matrices/matrices", `matrix/matrices/${shape}`] : [],
    ...(shape ? { overrides: { LANES: device.info.subgroupMaxSize! } } : {}),
    grid: (n, tokens) => [Math.ceil(n / tile), Math.ceil(tokens / tile)],
  };
}

/** Whether a workgroup of so many lanes is always one subgroup. */
function oneSubgroup(device: Device, lanes: number): boolean {
  const { subgroupMinSize, subgroupMaxSize } = device.info;
  return device.features.has("subgroups") && subgroupMinSize === lanes && subgroupMaxSize === lanes;
}

/** How sums meet over a workgroup of so many lanes. */
export function reduction(device: Device, lanes: number): string {
  if (!oneSubgroup(device, lanes)) return "rows/reduce";
  return lanes === EIGHT ? "cpu/reduce-eight" : "rows/reduce-subgroup";
}
