// Decoding without waiting: the GPU chooses a token where the next step finds it, so that steps are queued ahead and their
// choices read when they come.

import type { KvType } from "../../kernels/attention/kv-types.ts";
import { bufferBytes, type Device } from "../../kernels/gpu/device.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import type { TokenLogprob } from "../sampler/sampler.ts";
import { NotFiniteError } from "./not-finite.ts";

/** Choices on their way at a time, of all texts. */
const SLOTS = 4;

/** id, log-probability */
const CHOICE_BYTES = bufferBytes(8);
const INVALID = 0xffffffff; // of choose.wgsl

/** Bytes of everything that is allocated here. */
export const CHOICES_BYTES: number = (1 + SLOTS) * CHOICE_BYTES;

/** The choices of steps, on their way from the GPU. */
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

  /** `kvType` is that of the cache that the choices come out of. */
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

  /** Settles when all that are on their way have come. */
  async settled(): Promise<void> {
    await Promise.all(this.#slots.map(({ free }) => free));
  }

  /** A place for one choice, when there is one. */
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
        slot.free = choice.catch(() => {}); // heard of by what awaits it
        return choice;
      },
    };
  }
}

/** One step's way to its choice: copied within the step, read once that has been submitted. */
export interface ChoiceSlot {
  copyTo(encoder: GPUCommandEncoder): void;
  read(): Promise<TokenLogprob>;
}
