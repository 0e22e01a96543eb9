// The facts about an adapter, asked once: a record that tilings and recipes read. No other file of
// the engine asks a device what kind of adapter it is on. Opening adapters, and waiting for them,
// is done by the platform.
//
// In this room: the record, and the tilings that follow from it. Not in it: what is measured
// (matrix/tuning.ts). Rooms of the kernels import one way: gpu <- adapter <- weights <- rows,
// attention, choice, matrix.

import type { Device } from "../gpu/device.ts";

/**
 * How the planes of a matrix lie in memory: row after row in buffers; or, for software adapters,
 * eight rows interleaved, as eight lanes read them, with the widest planes in textures. These are
 * also the names of the fragments that read them.
 */
export type Placement = "rows" | "interleaved";

/** Lanes of the shaders that are written for the subgroups of llvmpipe. */
export const EIGHT = 8;

/** What is measured by running kernels on an adapter, and remembered: see matrix/tuning.ts. */
export interface Tuning {
  /** About how many workgroups share the product of a matrix with one vector. */
  readonly workgroups: number;
  /** Whether its subgroup matrices, if it has any, multiply correctly. */
  readonly matrices: boolean;
}

/** The facts about the adapter of a device that kernels depend on. */
export interface Adapter {
  /** Whether the threads of a CPU do the work of a GPU. */
  readonly isSoftware: boolean;
  /** Lanes of a subgroup; undefined if subgroups differ in size or cannot be used. */
  readonly subgroup: number | undefined;
  /**
   * Lanes of a workgroup that sums over a row: about one subgroup of the adapter, between 8 and 32.
   */
  readonly lanes: number;
  /**
   * Workgroups that keep it busy to the end. A software adapter needs a few for each of its
   * threads, and each further one costs time; a card can always use more.
   */
  readonly busyGroups: number;
  /** The most workgroups along one axis of a grid. */
  readonly maxGroups: number;
  /** How matrices are placed, and so whether the shaders of `cpu/` read them. */
  readonly placement: Placement;
  /** Whether the vector that a matrix multiplies is read from a uniform binding, if it fits. */
  readonly uniformInputs: boolean;
  /**
   * About how many workgroups share the product of a matrix with one vector: as measured, or the
   * default.
   */
  readonly workgroups: number;
  /**
   * The subgroup matrices that multiply several tokens, "MxNxK"; undefined if there are none, or if
   * they multiply wrong.
   */
  readonly matrixShape: string | undefined;
  /**
   * Steps of one text in flight: while a card works on one, the next is queued already. A software
   * adapter computes on the cores that would prepare the next one: with two cores this is a tenth
   * slower than waiting.
   */
  readonly stepsAhead: number;
}

/** Workgroups that keep the threads of a software adapter busy. */
const SOFTWARE_GROUPS = 24;

/**
 * Workgroups that share a product of one vector if this was not measured: a card has to be filled;
 * a software adapter has few threads, and every workgroup loads the vector again.
 */
const USUAL_GROUPS = { software: 16, card: 512 };

/** Reads the facts about the adapter of a device; `tuning` has what was measured. */
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

/** The shapes of subgroup matrices that have shaders, the largest first: M x N x K. */
const MATRICES = ["16x16x16", "16x8x16", "8x16x16", "16x8x8", "8x8x8"];

const MATRICES_BYTES = 20480; // of w_tile and x_tile of matmul-matrices.wgsl

/**
 * The shape of the subgroup matrices, of halves summed in f32, that an adapter offers. Undefined
 * for software adapters, which only emulate them, and if subgroups differ in size, since then the
 * number of them in a workgroup is unknown.
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
