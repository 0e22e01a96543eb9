// What an adapter is like, asked once: a record that tilings and recipes read. No other file of the
// engine asks a device what kind of adapter it is on; opening adapters, and waiting for them, is
// the platform's.
//
// In this room: the record, and the tilings that follow from it. Not in it: what is measured
// (matrix/tuning.ts). Rooms of the kernels import one way: gpu <- adapter <- weights <- rows,
// attention, choice, matrix.

import type { Device } from "../gpu/device.ts";

/**
 * How the planes of a matrix lie in memory: row after row in buffers; or by eight rows, as eight
 * lanes read them, what is widest of them in textures, for adapters that are CPUs. The names of the
 * shaders that read them so.
 */
export type Placement = "rows" | "interleaved";

/** Lanes of the shaders that are written for subgroups of eight, those of llvmpipe. */
export const EIGHT = 8;

/**
 * What is found out about an adapter by running kernels on it, and remembered: see
 * matrix/tuning.ts.
 */
export interface Tuning {
  /** By about how many workgroups the product of a matrix with one vector is shared. */
  readonly workgroups: number;
  /** Whether its subgroup matrices, if it has any, multiply right. */
  readonly matrices: boolean;
}

/** What kernels have to know of the adapter that a device is on. */
export interface Adapter {
  /** Whether the threads of a CPU do the work of a GPU. */
  readonly isSoftware: boolean;
  /** Lanes of every subgroup; undefined if they differ, or if subgroups cannot be used. */
  readonly subgroup: number | undefined;
  /**
   * Lanes of a workgroup that sums over a row: about one subgroup of the adapter, between 8 and 32.
   */
  readonly lanes: number;
  /**
   * Workgroups that keep it busy to the end. A software adapter has enough with a few for each of
   * its threads, and every one more costs it something; a card has never enough.
   */
  readonly busyGroups: number;
  /** The most workgroups along one axis of a grid. */
  readonly maxGroups: number;
  /** How matrices are placed, which also says whether they are read by the shaders of `cpu/`. */
  readonly placement: Placement;
  /** Whether the vector that a matrix multiplies is read from constant memory, if it fits. */
  readonly uniformInputs: boolean;
  /**
   * By about how many workgroups the product of a matrix with one vector is shared: as measured, or
   * the usual number.
   */
  readonly workgroups: number;
  /**
   * The subgroup matrices that multiply several tokens, "MxNxK"; undefined without any, or if they
   * multiply wrong.
   */
  readonly matrixShape: string | undefined;
  /**
   * Steps of one text that are on their way at a time: while a GPU works on one, the next is there
   * already. A software adapter works on the cores that would prepare it: there it takes longer
   * than to wait, by a tenth on two of them.
   */
  readonly stepsAhead: number;
}

/** Workgroups that keep the threads of a software adapter busy. */
const SOFTWARE_GROUPS = 24;

/**
 * Workgroups that share a product of one vector if it was not measured how many suit an adapter: a
 * GPU has to be filled with them; a software adapter has a few threads, and pays for every load of
 * the vector.
 */
const USUAL_GROUPS = { software: 16, card: 512 };

/** The record of the adapter that a device is on, with what was measured of it. */
export function readAdapter(device: Device, tuning: Partial<Tuning> = {}): Adapter {
  const { isFallbackAdapter: isSoftware, subgroupMinSize, subgroupMaxSize } = device.info;
  const subgroups = device.features.has("subgroups") && subgroupMinSize === subgroupMaxSize;
  const subgroup = subgroups ? subgroupMaxSize : undefined;
  const readsTextures = device.languageFeatures.has("readonly_and_readwrite_storage_textures");
  return {
    isSoftware,
    subgroup,
    lanes: Math.min(32, Math.max(8, subgroupMaxSize ?? 32)),
    busyGroups: isSoftware ? SOFTWARE_GROUPS : Number.POSITIVE_INFINITY,
    maxGroups: device.limits.maxComputeWorkgroupsPerDimension,
    placement: isSoftware && subgroup === EIGHT && readsTextures ? "interleaved" : "rows",
    uniformInputs: isSoftware,
    workgroups: tuning.workgroups ?? (isSoftware ? USUAL_GROUPS.software : USUAL_GROUPS.card),
    matrixShape: tuning.matrices ? offeredMatrixShape(device) : undefined,
    stepsAhead: isSoftware ? 1 : 2,
  };
}

/** The shapes of subgroup matrices that there are shaders for, the largest first: M x N x K. */
const MATRICES = ["16x16x16", "16x8x16", "8x16x16", "16x8x8", "8x8x8"];

const MATRICES_BYTES = 20480; // of w_tile and x_tile of matmul-matrices.wgsl

/**
 * The shape of the subgroup matrices with which an adapter could multiply several tokens: of
 * halves, summed in f32. A software adapter may offer some, but only imitates them; if subgroups
 * differ in size, it is unknown how many share a workgroup.
 */
export function offeredMatrixShape(device: Device): string | undefined {
  const { isFallbackAdapter, subgroupMinSize, subgroupMaxSize } = device.info;
  if (isFallbackAdapter || subgroupMinSize !== subgroupMaxSize) return undefined;
  if (!device.features.has("shader-f16") || !device.languageFeatures.has("subgroup_id")) {
    return undefined;
  }
  if (4 * subgroupMaxSize! > device.limits.maxComputeInvocationsPerWorkgroup) return undefined;
  const room = device.limits.maxComputeWorkgroupStorageSize;
  const offered = device.matrixConfigs
    .filter((config) => config.componentType === "f16" && config.resultComponentType === "f32")
    .filter(({ M, N }) => MATRICES_BYTES + 32 * M * N <= room)
    .map(({ M, N, K }) => `${M}x${N}x${K}`);
  return MATRICES.find((shape) => offered.includes(shape));
}
