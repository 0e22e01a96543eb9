// Reads back the likeliest tokens of a step: a few kilobytes instead of all logits.

import type { Device } from "../../kernels/gpu/device.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import type { TopLogits } from "../sampler/sampler.ts";

const ROOM = 1024; // of top.wgsl
const HEADER = 4;

/** Bytes of one list; two are allocated. */
const LIST_BYTES = (HEADER + 2 * ROOM) * 4;

/** Bytes of everything that is allocated here. */
export const TOP_BYTES: number = 2 * LIST_BYTES;

export class TopList {
  /** Where the GPU writes the list. */
  readonly buffer: GPUBuffer;
  readonly #device: Device;
  readonly #staging: GPUBuffer;

  private constructor(device: Device, buffer: GPUBuffer, staging: GPUBuffer) {
    this.#device = device;
    this.buffer = buffer;
    this.#staging = staging;
  }

  static async create(device: Device): Promise<TopList> {
    const buffer = await device.createBuffer("top", LIST_BYTES, USAGE.STORAGE | USAGE.COPY_SRC);
    const usage = USAGE.COPY_DST | USAGE.MAP_READ;
    const staging = await device.createBuffer("top (read back)", LIST_BYTES, usage);
    return new TopList(device, buffer, staging);
  }

  copyTo(encoder: GPUCommandEncoder): void {
    encoder.copyBufferToBuffer(this.buffer, 0, this.#staging, 0, LIST_BYTES);
  }

  /**
   * Reads the list after the step was submitted. Returns undefined if the list did not fit, or if a
   * logit is NaN.
   */
  async read(): Promise<TopLogits | undefined> {
    const words = new Uint32Array((await this.#device.map(this.#staging)).slice(0));
    this.#staging.unmap();
    const floats = new Float32Array(words.buffer);
    const [count, , areNumbers] = words;
    if (count! > ROOM || areNumbers === 0) return undefined;
    const order = Array.from({ length: count! }, (_, i) => HEADER + 2 * i).sort(
      (a, b) => floats[b + 1]! - floats[a + 1]! || words[a]! - words[b]!,
    );
    return {
      ids: Uint32Array.from(order, (at) => words[at]!),
      logits: Float32Array.from(order, (at) => floats[at + 1]!),
      logSum: floats[1]!,
    };
  }
}
