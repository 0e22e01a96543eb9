// How the host binds a kernel, and how buffers are bound.

import type { Activations } from "./activations.ts";
import type { Dispatch, Grid } from "./commands.ts";
import type { Device } from "./device.ts";
import type { Bound, Kernel } from "./kernel.ts";
import type { ParamBlock, StepValues } from "./params.ts";

/** Prepares dispatches whose `Params` come from one block. */
export class Dispatcher {
  readonly #device: Device;
  readonly #params: ParamBlock;

  constructor(device: Device, params: ParamBlock) {
    this.#device = device;
    this.#params = params;
  }

  /** A kernel, bound: `resources` by the names of its page, its `Params` from the block. */
  dispatch(
    label: string,
    kernel: Kernel,
    resources: Readonly<Record<string, Bound>>,
    grid: (step: StepValues) => Grid,
  ): Dispatch {
    const params = kernel.params.length > 0 ? { params: this.#params.slot(kernel) } : {};
    return {
      kernel,
      label,
      grid,
      bindings: kernel.bind(this.#device, { ...resources, ...params }),
    };
  }
}

/** The binding of activations, without what their buffer has beyond them. */
export function numbers({ buffer, rows, stride }: Activations): GPUBufferBinding {
  return { buffer, size: rows * stride * 4 };
}

/** The binding of a buffer with all that it holds. */
export function whole(buffer: GPUBuffer): GPUBufferBinding {
  return { buffer };
}
