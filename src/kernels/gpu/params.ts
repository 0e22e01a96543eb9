// Writes what changes from step to step into the `Params` of kernels, a few integers each.

import { BINDING_ALIGNMENT, type Device } from "./device.ts";
import { type Kernel, KernelError } from "./kernel.ts";
import { USAGE } from "./usage-flags.ts";

/**
 * The numbers of a step that kernels read, by the names of their `Params`: each kernel takes the
 * fields that its shader declares. A field that no kernel of a list of dispatches reads may be
 * missing.
 */
export interface StepValues {
  /** T: tokens of the step. */
  readonly tokens: number;
  /** Items of work of attention, for short pieces and for longer ones: see attention/work.ts. */
  readonly short_items?: number;
  readonly long_items?: number;
  /** The most tokens of a short item. */
  readonly short_tokens?: number;
  /** Tokens whose keys were split into ranges. */
  readonly merges?: number;
  /** Turns of the loop that measures how fast an adapter multiplies. */
  readonly steps?: number;
}

/** A step of the layers: the grids of attention follow. */
export type AttentionStep = StepValues &
  Required<Pick<StepValues, "short_items" | "long_items" | "short_tokens" | "merges">>;

const SLOTS = 64;

/** The size of a block's buffer. */
export const PARAM_BLOCK_BYTES: number = SLOTS * BINDING_ALIGNMENT;

/**
 * One uniform buffer for the `Params` of many kernels. Kernels that declare the same fields share a
 * slot, and a step writes all slots with one call.
 */
export class ParamBlock {
  readonly #buffer: GPUBuffer;
  readonly #device: Device;
  readonly #label: string;
  readonly #slots = new Map<string, { offset: number; kernel: Kernel }>();
  readonly #bytes = new ArrayBuffer(PARAM_BLOCK_BYTES);
  readonly #view = new DataView(this.#bytes);

  private constructor(device: Device, label: string, buffer: GPUBuffer) {
    this.#device = device;
    this.#label = label;
    this.#buffer = buffer;
  }

  static async create(device: Device, label: string): Promise<ParamBlock> {
    const usage = USAGE.UNIFORM | USAGE.COPY_DST;
    return new ParamBlock(
      device,
      label,
      await device.createBuffer(label, PARAM_BLOCK_BYTES, usage),
    );
  }

  /** The slot for the `Params` of a kernel. */
  slot(kernel: Kernel): GPUBufferBinding {
    const key = kernel.params.map(({ name, type }) => `${name}:${type}`).join();
    let slot = this.#slots.get(key);
    if (!slot) {
      if (this.#slots.size === SLOTS) throw new KernelError(`${this.#label}: no slot left`);
      slot = { offset: this.#slots.size * BINDING_ALIGNMENT, kernel };
      this.#slots.set(key, slot);
    }
    const size = Math.ceil(kernel.params.length / 4) * 16;
    return { buffer: this.#buffer, offset: slot.offset, size };
  }

  /** Writes the fields of every slot; a field that `values` lacks throws. */
  write(values: Partial<StepValues>): void {
    for (const { offset, kernel } of this.#slots.values()) {
      kernel.params.forEach(({ name, type }, i) => {
        const value = values[name as keyof StepValues];
        if (value === undefined) throw new KernelError(`${kernel.name}: missing param ${name}`);
        const at = offset + 4 * i;
        if (type === "f32") this.#view.setFloat32(at, value, true);
        else if (type === "i32") this.#view.setInt32(at, value, true);
        else this.#view.setUint32(at, value, true);
      });
    }
    if (this.#slots.size > 0) {
      const size = this.#slots.size * BINDING_ALIGNMENT;
      this.#device.queue.writeBuffer(this.#buffer, 0, this.#bytes, 0, size);
    }
  }
}
