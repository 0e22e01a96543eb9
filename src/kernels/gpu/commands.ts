// Prepared dispatches: everything except a few integers is decided before the first token.

import { CapacityError, type Device } from "./device.ts";
import type { Kernel } from "./kernel.ts";
import type { StepValues } from "./params.ts";

/** Workgroups along x, y, z. */
export type Grid = readonly [number, number, number];

export interface Dispatch {
  readonly kernel: Kernel;
  readonly bindings: GPUBindGroup;
  /** What it computes, for profiles: "blk.3.attn_q". */
  readonly label: string;
  /** The grid of a step: a dispatch whose grid is empty is left out. */
  readonly grid: (step: StepValues) => Grid;
}

/**
 * Throws a `CapacityError` if the grid of a step exceeds the adapter's limit along one axis: with
 * very many heads or rows of a model, or tokens of a step.
 */
export function checkGrids(
  { limits }: Device,
  dispatches: readonly Dispatch[],
  step: StepValues,
): void {
  const most = limits.maxComputeWorkgroupsPerDimension;
  for (const { label, grid } of dispatches) {
    const largest = Math.max(...grid(step));
    if (largest <= most) continue;
    const { tokens = 1 } = step;
    const advice = tokens > 1 ? " Compute fewer tokens of a prompt at a time (--chunk)." : "";
    throw new CapacityError(
      `${label} needs ${largest} workgroups in a row for a step of ${tokens} tokens; this adapter allows ${most}.${advice}`,
    );
  }
}

/**
 * Dispatches and copies that are submitted at once, in one compute pass unless a copy comes in
 * between.
 */
export class Commands {
  readonly #encoder: GPUCommandEncoder;
  readonly #queue: GPUQueue;
  #pass: GPUComputePassEncoder | undefined;
  #pipeline: GPUComputePipeline | undefined;

  constructor({ handle }: Device) {
    this.#encoder = handle.createCommandEncoder();
    this.#queue = handle.queue;
  }

  /** The encoder, for copies; they run after all that is recorded so far. */
  get encoder(): GPUCommandEncoder {
    this.endPass();
    return this.#encoder;
  }

  /** Records dispatches. */
  run(dispatches: readonly Dispatch[], step: StepValues): void {
    for (const dispatch of dispatches) {
      const grid = dispatch.grid(step);
      if (grid[0] * grid[1] * grid[2] > 0) this.dispatch(dispatch, grid);
    }
  }

  submit(): void {
    this.#queue.submit([this.encoder.finish()]);
  }

  protected dispatch({ kernel, bindings }: Dispatch, grid: Grid): void {
    const pass = this.#pass ?? this.beginPass();
    if (kernel.pipeline !== this.#pipeline) pass.setPipeline(kernel.pipeline);
    this.#pipeline = kernel.pipeline;
    pass.setBindGroup(0, bindings);
    pass.dispatchWorkgroups(...grid);
  }

  protected beginPass(descriptor?: GPUComputePassDescriptor): GPUComputePassEncoder {
    this.#pass = this.#encoder.beginComputePass(descriptor);
    return this.#pass;
  }

  protected endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
    this.#pipeline = undefined;
  }
}

/** Records and submits a list of dispatches. */
export function run(device: Device, dispatches: readonly Dispatch[], step: StepValues): void {
  const commands = new Commands(device);
  commands.run(dispatches, step);
  commands.submit();
}
