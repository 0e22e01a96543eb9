// A case of a kernel: how to set it up, what it must compute, and how much work this is.

import type { Dispatch } from "../../kernels/gpu/commands.ts";
import type { StepValues } from "../../kernels/gpu/params.ts";
import type { Workbench } from "./workbench.ts";

export interface KernelCase {
  /** The name of the operation, as in `--kernel`: "matmul". */
  readonly kernel: string;
  /** The format of weights, the type of a cache, or that of activations. */
  readonly format: string;
  readonly shape: string;
  /** Bytes that have to be read and written at least once. */
  readonly bytes: number;
  /** Multiply-adds; undefined if the kernel's work is not multiplication. */
  readonly multiplies?: number;
  /** The tolerance of the normalised square error, if storing rounds more than f32 does. */
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
  /** The result of the kernel, and that of reference.ts. */
  result(): Promise<Float32Array>;
  expected(): ArrayLike<number>;
  /** It works in place: only the first run computes what is expected. */
  readonly inPlace?: boolean;
  release(): void;
}

/** Sizes of what kernels work on. */
export interface Sizes {
  /** Sizes of a matrix [n, k], and of rows. */
  readonly n: number;
  readonly k: number;
  /** Where a kernel takes several. */
  readonly tokens: number;
}
