// Decoding without waiting: the GPU chooses a token where the next step finds it, so that steps are queued ahead and their
// choices read when they come.

import type { PageTable } from "../../context/cache/page-table.ts";
import type { KvType } from "../../kernels/attention/kv-types.ts";
import { bufferBytes, type Device } from "../../kernels/gpu/device.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import type { Draw, TokenLogprob } from "../sampler/sampler.ts";
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
        slot.free = choice.catch(() => {}); // whoever asked for it hears of a failure
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

/** Steps that follow one another: each appends what the one before has chosen. */
export interface ChosenRun {
  readonly sequence: PageTable;
  readonly draw: Draw;
}

/** Submits a step that appends a token: the one that lies on the GPU where the step before was of the same run. */
export type ChoosingStep = (
  run: ChosenRun,
  token: Promise<number>,
) => Promise<{ readonly choice: Promise<TokenLogprob> }>;

/**
 * The tokens that follow `first`, one after the other; no step is submitted beyond `budget` of them, nor
 * more than `most` ahead of what has been given. */
export async function* chosenTokens(
  step: ChoosingStep,
  sequence: PageTable,
  draw: Draw,
  first: number,
  budget: number,
  most: number,
): AsyncGenerator<TokenLogprob, void, void> {
  const run: ChosenRun = { sequence, draw };
  const ahead: Promise<TokenLogprob>[] = [];
  let token = Promise.resolve(first);
  for (let submitted = 0, given = 0; given < budget; given++) {
    for (; submitted < budget && submitted - given < most; submitted++) {
      const { choice } = await step(run, token);
      token = choice.then(({ id }) => id);
      token.catch(() => {}); // heard of below, unless the text has ended
      ahead.push(choice);
    }
    yield await ahead.shift()!;
  }
}
