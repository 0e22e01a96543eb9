// Turns a recipe into a prepared dispatch, and binds buffers.

import type { Activations } from "./activations.ts";
import type { Dispatch, Grid } from "./commands.ts";
import type { Bound, KernelLibrary, KernelSpec } from "./kernel.ts";
import type { ParamBlock, StepValues } from "./params.ts";

/** A kernel, its bindings and its grid: all that one dispatch needs. */
export interface Recipe extends KernelSpec {
  /** What it computes, for profiles: "blk.3.attn_q". */
  readonly label: string;
  /** Everything but `Params`, by the names of the kernel's variables. */
  readonly bindings: Readonly<Record<string, Bound>>;
  /** The grid of a step: a dispatch whose grid is empty is left out. */
  readonly grid: (step: StepValues) => Grid;
}

/** Prepares dispatches whose kernels come from one library, and whose `Params` from one block. */
export class Dispatcher {
  readonly #library: KernelLibrary;
  readonly #params: ParamBlock;

  constructor(library: KernelLibrary, params: ParamBlock) {
    this.#library = library;
    this.#params = params;
  }

  dispatch({ label, bindings, grid, ...spec }: Recipe): Dispatch {
    const kernel = this.#library.kernel(spec);
    const params = kernel.params.length > 0 ? { params: this.#params.slot(kernel) } : {};
    const bound = kernel.bind(this.#library.device, { ...bindings, ...params });
    return { kernel, label, grid, bindings: bound };
  }
}

/** The binding of activations, without the spare bytes of their buffer. */
export function activationBinding({ buffer, rows, stride }: Activations): GPUBufferBinding {
  return { buffer, size: rows * stride * 4 };
}

/** The binding of a whole buffer. */
export function bufferBinding(buffer: GPUBuffer): GPUBufferBinding {
  return { buffer };
}
