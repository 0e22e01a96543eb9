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

/** What is submitted at once: lists of dispatches, and copies before and after them. */
export class Commands {
  readonly encoder: GPUCommandEncoder;
  readonly #queue: GPUQueue;

  constructor({ handle }: Device) {
    this.encoder = handle.createCommandEncoder();
    this.#queue = handle.queue;
  }

  /** Records dispatches into one compute pass. */
  run(dispatches: readonly Dispatch[], step: StepValues): void {
    const list = dispatches.map((dispatch) => ({ dispatch, grid: dispatch.grid(step) }));
    this.pass(list.filter(({ grid: [x, y, z] }) => x * y * z > 0));
  }

  submit(): void {
    this.#queue.submit([this.encoder.finish()]);
  }

  protected pass(
    list: readonly { readonly dispatch: Dispatch; readonly grid: Grid }[],
    timestampWrites?: GPUComputePassTimestampWrites,
  ): void {
    const pass = this.encoder.beginComputePass(timestampWrites && { timestampWrites });
    let current: GPUComputePipeline | undefined;
    for (const { dispatch, grid } of list) {
      const { pipeline } = dispatch.kernel;
      if (pipeline !== current) pass.setPipeline(pipeline);
      current = pipeline;
      pass.setBindGroup(0, dispatch.bindings);
      pass.dispatchWorkgroups(...grid);
    }
    pass.end();
  }
}

/** Records and submits a list of dispatches by itself. */
export function run(device: Device, dispatches: readonly Dispatch[], step: StepValues): void {
  const commands = new Commands(device);
  commands.run(dispatches, step);
  commands.submit();
}
