// What the laboratory knows of a kernel: how to set it up, what it must compute, and what work that
// is.

import type { Dispatch } from "../../kernels/gpu/commands.ts";
import type { StepValues } from "../../kernels/gpu/params.ts";
import type { Workbench } from "./workbench.ts";

export interface KernelCase {
  /** The operation, as people ask for it: "matmul". */
  readonly kernel: string;
  /** Of weights, or of the cells of a cache, or of activations. */
  readonly format: string;
  readonly shape: string;
  /** Bytes that have to be read and written at least once. */
  readonly bytes: number;
  /** Multiply-adds; none where multiplying is not what the kernel is for. */
  readonly multiplies?: number;
  /** Of the normalised square error, where storing rounds more than f32 does. */
  readonly tolerance?: number;
  prepare(bench: Workbench): Promise<PreparedCase>;
}

export interface PreparedCase {
  /**
   * The same work on copies of the weights: they are timed in turn, so that no copy stays in a
   * cache.
   */
  readonly variants: readonly (readonly Dispatch[])[];
  readonly step: Partial<StepValues>;
  /** What it has computed, and what reference.ts computes. */
  result(): Promise<Float32Array>;
  expected(): ArrayLike<number>;
  /** It works in place: only the first run computes what is expected. */
  readonly inPlace?: boolean;
  release(): void;
}

/** Sizes of what kernels work on. */
export interface Sizes {
  /** Of a matrix [n, k], and of rows. */
  readonly n: number;
  readonly k: number;
  /** Where a kernel takes several. */
  readonly tokens: number;
}
