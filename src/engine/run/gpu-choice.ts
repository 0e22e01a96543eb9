// Decoding without waiting: the GPU writes the chosen token where the next step reads it, so that
// steps are queued ahead and their choices are read back later.

import type { KvType } from "../../kernels/attention/kv-types.ts";
import { bufferBytes, type Device } from "../../kernels/gpu/device.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import type { TokenLogprob } from "../sampler/sampler.ts";
import { NotFiniteError } from "./not-finite.ts";

/** Most choices in flight at a time, of all texts. */
const SLOTS = 4;

/** A choice is an id and a log-probability. */
const CHOICE_BYTES = bufferBytes(8);
const INVALID = 0xffffffff; // of choose.wgsl

/** Bytes of everything that is allocated here. */
export const CHOICES_BYTES: number = (1 + SLOTS) * CHOICE_BYTES;

/** Reads back the choices of steps that are in flight. */
export class Choices {
  /** Where the GPU writes the choice of a step. */
  readonly buffer: GPUBuffer;
  readonly #device: Device;
  readonly #kvType: KvType;
  readonly #slots: { readonly staging: GPUBuffer; free: Promise<unknown> }[];
  #next = 0;

  private constructor(
    device: Device,
    kvType: KvType,
    buffer: GPUBuffer,
    staging: readonly GPUBuffer[],
  ) {
    this.#device = device;
    this.#kvType = kvType;
    this.buffer = buffer;
    this.#slots = staging.map((buffer) => ({ staging: buffer, free: Promise.resolve() }));
  }

  /** `kvType` is that of the cache; errors name it. */
  static async create(device: Device, kvType: KvType): Promise<Choices> {
    const usage = USAGE.STORAGE | USAGE.COPY_SRC;
    const buffer = await device.createBuffer("choice", CHOICE_BYTES, usage);
    const staging: GPUBuffer[] = [];
    for (let i = 0; i < SLOTS; i++) {
      const usage = USAGE.COPY_DST | USAGE.MAP_READ;
      staging.push(await device.createBuffer(`choice (read back ${i})`, CHOICE_BYTES, usage));
    }
    return new Choices(device, kvType, buffer, staging);
  }

  /** Settles when no choice is in flight any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#slots.map(({ free }) => free));
  }

  /** Waits for a free staging buffer and returns it for one choice. */
  async slot(): Promise<ChoiceSlot> {
    const slot = this.#slots[this.#next]!;
    this.#next = (this.#next + 1) % SLOTS;
    await slot.free;
    const read = async (): Promise<TokenLogprob> => {
      const words = new Uint32Array((await this.#device.map(slot.staging)).slice(0));
      slot.staging.unmap();
      const [id] = words;
      if (id === INVALID) {
        throw new NotFiniteError("A logit of the model is NaN or infinite", this.#kvType);
      }
      return { id: id!, logprob: new Float32Array(words.buffer)[1]! };
    };
    return {
      copyTo: (encoder) =>
        encoder.copyBufferToBuffer(this.buffer, 0, slot.staging, 0, CHOICE_BYTES),
      read: () => {
        const choice = read();
        slot.free = choice.catch(() => {}); // errors reach the caller that awaits `choice`
        return choice;
      },
    };
  }
}

/** Where one step leaves its choice: copied within the step, read after the step is submitted. */
export interface ChoiceSlot {
  copyTo(encoder: GPUCommandEncoder): void;
  read(): Promise<TokenLogprob>;
}
