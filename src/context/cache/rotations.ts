// Rotations on the GPU: (cos, sin) rows for the queries of a step, and for keys that are rotated
// when they are read.

import { bufferBytes, type Device } from "../../kernels/gpu/device.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import { sinkPosition } from "../positions/attention-policy.ts";
import { type Rope, type RopeFrequencies, writeRotation } from "../positions/rope-scaling.ts";
import type { PageEntry, PageTable } from "./page-table.ts";

/**
 * How keys are stored in pages: rotated at their text position, or raw, to be rotated when they are
 * read.
 */
export const KEY_STORAGES = ["rotated", "raw"] as const;

export type KeyStorage = (typeof KEY_STORAGES)[number];

export interface RotationsOptions {
  readonly rope: Rope;
  readonly keys: KeyStorage;
  /** E */
  readonly headWidth: number;
  /** P */
  readonly pageSize: number;
  /** N */
  readonly pages: number;
  /** The most tokens of a step. */
  readonly chunk: number;
}

type Sizes = Pick<RotationsOptions, "keys" | "headWidth" | "pageSize" | "pages" | "chunk">;

/** Bytes of everything that is allocated here. */
export function rotationBytes({ keys, headWidth, pageSize, pages, chunk }: Sizes): number {
  const steps = bufferBytes(3 * chunk * headWidth * 4);
  return steps + (keys === "raw" ? bufferBytes(pages * pageSize * headWidth * 4) : 0);
}

export class Rotations {
  /**
   * For the tokens of the step, [3, T, E/2, 2]: for queries that meet the window, for queries that
   * meet the sinks, and for keys when they are stored, which equals the first, or is (1, 0) if keys
   * stay raw.
   */
  readonly step: GPUBuffer;
  /**
   * (cos, sin) that keys are rotated by when they are read, [N P, E/2, 2], if they are stored raw.
   */
  readonly read: GPUBuffer | undefined;
  readonly #device: Device;
  readonly #options: RotationsOptions;
  readonly #stepRows: Float32Array;
  readonly #pageRows: Float32Array;
  /** The table and frequencies that `read` was last written for. */
  #written: { table: PageTable; frequencies: RopeFrequencies } | undefined;

  private constructor(
    device: Device,
    options: RotationsOptions,
    buffers: Pick<Rotations, "step" | "read">,
  ) {
    this.#device = device;
    this.#options = options;
    this.step = buffers.step;
    this.read = buffers.read;
    this.#stepRows = new Float32Array(3 * options.chunk * options.headWidth);
    this.#pageRows = new Float32Array(options.pageSize * options.headWidth);
  }

  static async create(device: Device, options: RotationsOptions): Promise<Rotations> {
    const { keys, headWidth, pageSize, pages, chunk } = options;
    const usage = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;
    const step = await device.createBuffer("rotations", 3 * chunk * headWidth * 4, usage);
    if (keys === "rotated") return new Rotations(device, options, { step, read: undefined });
    const read = await device.createBuffer(
      "rotations of keys",
      pages * pageSize * headWidth * 4,
      usage,
    );
    return new Rotations(device, options, { step, read });
  }

  /** Uploads the rotations of the last `tokens` tokens of a table, and of the keys they see. */
  write(table: PageTable, tokens: number): void {
    const { rope, headWidth } = this.#options;
    const { policy } = table;
    const start = table.length - tokens;
    const frequencies = rope.frequencies(Math.min(table.length, policy.sinks + policy.window));
    const rows = this.#stepRows;
    const E = headWidth;
    for (let t = 0; t < tokens; t++) {
      writeRotation(frequencies, start + t, rows, t * E);
      writeRotation(frequencies, sinkPosition(policy, start + t), rows, (tokens + t) * E);
    }
    const stored = rows.subarray(2 * tokens * E, 3 * tokens * E);
    if (this.read)
      stored.forEach((_, i) => {
        stored[i] = 1 - (i % 2);
      }); // (1, 0), (1, 0), ...
    else stored.set(rows.subarray(0, tokens * E));
    this.#device.queue.writeBuffer(this.step, 0, rows, 0, 3 * tokens * E);
    if (!this.read) return;

    const known = this.#written?.table === table && this.#written.frequencies === frequencies;
    for (const entry of table.entries) {
      const touched = entry.first + this.#options.pageSize > start;
      if (!known || touched) this.#writePage(this.read, entry, frequencies);
    }
    this.#written = { table, frequencies };
  }

  #writePage(read: GPUBuffer, { page, first }: PageEntry, frequencies: RopeFrequencies): void {
    const { pageSize, headWidth } = this.#options;
    for (let i = 0; i < pageSize; i++) {
      writeRotation(frequencies, first + i, this.#pageRows, i * headWidth);
    }
    this.#device.queue.writeBuffer(read, page * pageSize * headWidth * 4, this.#pageRows);
  }
}
