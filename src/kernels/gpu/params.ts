// What changes from step to step reaches the kernels as `Params`, a few integers a kernel.

import { BINDING_ALIGNMENT, type Device } from "./device.ts";
import { type Kernel, KernelError } from "./kernel.ts";
import { USAGE } from "./usage-flags.ts";

/** The values of a step by field name, for all kernels together; each takes the fields that its page declares. */
export type StepValues = Readonly<Record<string, number>>;

const SLOTS = 64;

/** The size of a block's buffer. */
export const PARAM_BLOCK_BYTES: number = SLOTS * BINDING_ALIGNMENT;

/**
 * One uniform buffer for the `Params` of many kernels. Kernels that declare the same fields share a slot, and a step
 * writes all slots with one call.
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
  write(values: StepValues): void {
    for (const { offset, kernel } of this.#slots.values()) {
      kernel.params.forEach(({ name, type }, i) => {
        const value = values[name];
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
