// What comes back from the GPU of the logits of a step: the tokens that it chose, or the likeliest ones.

import type { KvType } from "../../kernels/attention/kv-types.ts";
import { drawBytes, packDraws, type RowDraw } from "../../kernels/choice/choice.ts";
import { bufferBytes, type Device } from "../../kernels/gpu/device.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import type { TokenLogprob, TopLogits } from "../sampler/sampler.ts";
import { NotFiniteError } from "./not-finite.ts";

/** Steps whose choices may be on their way at a time. */
const SLOTS = 4;

const CHOICE_BYTES = 8; // id, log-probability
const INVALID = 0xffffffff; // of choose.wgsl

const STAGING = USAGE.COPY_DST | USAGE.MAP_READ;

/** Bytes of all buffers of the choices of steps of at most this many rows. */
export function choicesBytes(rows: number): number {
  return bufferBytes(drawBytes(rows)) + (1 + SLOTS) * bufferBytes(rows * CHOICE_BYTES);
}

/**
 * The tokens that the GPU chooses. It finds them itself in the next step, so that steps are queued
 * ahead and their choices read when they come.
 */
export class Choices {
  /** What the rows of a step are drawn by. */
  readonly draws: GPUBuffer;
  /** Where the GPU writes the choices of a step, [choices, 2]. */
  readonly buffer: GPUBuffer;
  readonly #device: Device;
  readonly #kvType: KvType;
  readonly #slots: { readonly staging: GPUBuffer; free: Promise<unknown> }[];
  #next = 0;

  private constructor(
    device: Device,
    kvType: KvType,
    buffers: Pick<Choices, "draws" | "buffer">,
    staging: readonly GPUBuffer[],
  ) {
    this.#device = device;
    this.#kvType = kvType;
    this.draws = buffers.draws;
    this.buffer = buffers.buffer;
    this.#slots = staging.map((buffer) => ({ staging: buffer, free: Promise.resolve() }));
  }

  /** For at most `rows` choices a step; `kvType` is that of the cache that they come out of. */
  static async create(device: Device, kvType: KvType, rows: number): Promise<Choices> {
    const bytes = rows * CHOICE_BYTES;
    const usage = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;
    const draws = await device.createBuffer("draws", drawBytes(rows), usage);
    const buffer = await device.createBuffer("choices", bytes, usage);
    const staging: GPUBuffer[] = [];
    for (let i = 0; i < SLOTS; i++) {
      staging.push(await device.createBuffer(`choices (read back ${i})`, bytes, STAGING));
    }
    return new Choices(device, kvType, { draws, buffer }, staging);
  }

  /** Settles when all that are on their way have come. */
  async settled(): Promise<void> {
    await Promise.all(this.#slots.map(({ free }) => free));
  }

  /** Room for the choices of a step, when there is some. */
  async slot(): Promise<ChoiceSlot> {
    const slot = this.#slots[this.#next]!;
    this.#next = (this.#next + 1) % SLOTS;
    await slot.free;
    return {
      write: (draws) => this.#device.queue.writeBuffer(this.draws, 0, packDraws(draws)),
      copyTo: (encoder, count) => {
        encoder.copyBufferToBuffer(this.buffer, 0, slot.staging, 0, count * CHOICE_BYTES);
      },
      read: (count) => {
        const words = this.#read(slot.staging, count);
        slot.free = words.catch(() => {}); // each choice rejects with it
        return Array.from({ length: count }, (_, i) => words.then((words) => this.#at(words, i)));
      },
    };
  }

  async #read(staging: GPUBuffer, count: number): Promise<Uint32Array> {
    const mapped = await this.#device.map(staging, count * CHOICE_BYTES);
    const words = new Uint32Array(mapped.slice(0));
    staging.unmap();
    return words;
  }

  #at(words: Uint32Array, i: number): TokenLogprob {
    const id = words[2 * i]!;
    if (id === INVALID) {
      throw new NotFiniteError("A logit of the model is NaN or infinite", this.#kvType);
    }
    return { id, logprob: new Float32Array(words.buffer)[2 * i + 1]! };
  }
}

/** The way of one step's choices: drawn as written, copied within the step, read once that has been submitted. */
export interface ChoiceSlot {
  write(draws: readonly RowDraw[]): void;
  copyTo(encoder: GPUCommandEncoder, count: number): void;
  read(count: number): Promise<TokenLogprob>[];
}

/** Rows of a step whose likeliest tokens may be asked for. */
export const LISTS = 16;

const ROOM = 1024; // of top.wgsl
const HEADER = 4;
const LIST_WORDS = HEADER + 2 * ROOM;
const LIST_BYTES = LIST_WORDS * 4;

/** Bytes of all buffers of the lists. */
export const LISTS_BYTES: number = bufferBytes(LISTS * 8) + 2 * LISTS * LIST_BYTES;

/** The likeliest tokens of rows, on their way from the GPU: a few kilobytes in place of a vocabulary. */
export class TopLists {
  /** Rows of the logits, and how many tokens of each: [lists, 2]. */
  readonly wanted: GPUBuffer;
  /** Where the GPU writes the lists. */
  readonly buffer: GPUBuffer;
  readonly #device: Device;
  readonly #staging: GPUBuffer;

  private constructor(
    device: Device,
    buffers: Pick<TopLists, "wanted" | "buffer">,
    staging: GPUBuffer,
  ) {
    this.#device = device;
    this.wanted = buffers.wanted;
    this.buffer = buffers.buffer;
    this.#staging = staging;
  }

  static async create(device: Device): Promise<TopLists> {
    const usage = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;
    const wanted = await device.createBuffer("lists wanted", LISTS * 8, usage);
    const buffer = await device.createBuffer("top", LISTS * LIST_BYTES, usage);
    const staging = await device.createBuffer("top (read back)", LISTS * LIST_BYTES, STAGING);
    return new TopLists(device, { wanted, buffer }, staging);
  }

  write(wanted: readonly { readonly row: number; readonly keep: number }[]): void {
    const words = Uint32Array.from(wanted.flatMap(({ row, keep }) => [row, keep]));
    this.#device.queue.writeBuffer(this.wanted, 0, words);
  }

  copyTo(encoder: GPUCommandEncoder, count: number): void {
    encoder.copyBufferToBuffer(this.buffer, 0, this.#staging, 0, count * LIST_BYTES);
  }

  /** The lists, once the step has been submitted; nothing for one that did not fit, or if its logits are no numbers. */
  async read(count: number): Promise<(TopLogits | undefined)[]> {
    const mapped = await this.#device.map(this.#staging, count * LIST_BYTES);
    const words = new Uint32Array(mapped.slice(0));
    this.#staging.unmap();
    return Array.from({ length: count }, (_, i) =>
      listOf(words.slice(i * LIST_WORDS, (i + 1) * LIST_WORDS)),
    );
  }
}

function listOf(words: Uint32Array): TopLogits | undefined {
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
