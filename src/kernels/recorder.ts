// Prepared dispatches: everything but a few integers is decided before the first token.

import type { Device } from "./device.ts";
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

/** Records a list of dispatches into one compute pass. */
export function record(
  encoder: GPUCommandEncoder,
  dispatches: readonly Dispatch[],
  step: StepValues,
): void {
  const pass = encoder.beginComputePass();
  let current: GPUComputePipeline | undefined;
  for (const { kernel, bindings, grid } of dispatches) {
    const [x, y, z] = grid(step);
    if (x * y * z === 0) continue;
    if (kernel.pipeline !== current) {
      current = kernel.pipeline;
      pass.setPipeline(current);
    }
    pass.setBindGroup(0, bindings);
    pass.dispatchWorkgroups(x, y, z);
  }
  pass.end();
}

/** Records and submits a list of dispatches by itself. */
export function run(device: Device, dispatches: readonly Dispatch[], step: StepValues): void {
  const encoder = device.handle.createCommandEncoder();
  record(encoder, dispatches, step);
  device.queue.submit([encoder.finish()]);
}
