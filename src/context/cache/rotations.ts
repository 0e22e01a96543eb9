// Rotations on the GPU: (cos, sin) rows for the queries of a step, and for keys that are rotated
// when they are read.

import { bufferBytes, type Device } from "../../kernels/gpu/device.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import { sinkPosition } from "../positions/attention-policy.ts";
import {
  type Rope,
  type RopeFrequencies,
  temperatureAt,
  writeRotation,
} from "../positions/rope-scaling.ts";
import type { PageTable } from "./page-table.ts";

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

/** The last `tokens` tokens of a table. */
export interface RotatedPiece {
  readonly table: PageTable;
  readonly tokens: number;
}

export class Rotations {
  /**
   * For the tokens of the step, [3, T, E/2, 2]: for queries that meet the window, for queries that
   * meet the sinks, and for keys when they are stored, which equals the first unless queries
   * grow with their position, or is (1, 0) if keys stay raw.
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
  /** What the rows of each page in `read` were last written for. */
  readonly #written: { readonly first: number; readonly frequencies: RopeFrequencies }[] = [];

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

  /** Uploads the rotations of the tokens of a step, piece after piece, and of the keys they see. */
  write(pieces: readonly RotatedPiece[]): void {
    const { rope, headWidth: E } = this.#options;
    const { temperature } = rope;
    const T = pieces.reduce((sum, { tokens }) => sum + tokens, 0);
    const rows = this.#stepRows;
    let t = 0;
    for (const { table, tokens } of pieces) {
      const { policy, length } = table;
      const frequencies = rope.frequencies(Math.min(length, policy.sinks + policy.window));
      for (let position = length - tokens; position < length; position++, t++) {
        // Beyond what is seen, a text grows but its queries do not: as if positions were re-assigned.
        const sink = sinkPosition(policy, position);
        const factor = temperatureAt(temperature, sink);
        writeRotation(frequencies, position, rows, t * E, E, factor);
        writeRotation(frequencies, sink, rows, (T + t) * E, E, factor);
        if (temperature && !this.read) {
          writeRotation(frequencies, position, rows, (2 * T + t) * E, E);
        }
      }
      if (this.read) this.#writePages(this.read, table, frequencies);
    }
    const stored = rows.subarray(2 * T * E, 3 * T * E);
    if (this.read)
      stored.forEach((_, i) => {
        stored[i] = 1 - (i % 2);
      }); // (1, 0), (1, 0), ...
    else if (!temperature) stored.set(rows.subarray(0, T * E));
    this.#device.queue.writeBuffer(this.step, 0, rows, 0, 3 * T * E);
  }

  /** Writes the rotations of the keys of a table, but of pages that have them already. */
  #writePages(read: GPUBuffer, { entries }: PageTable, frequencies: RopeFrequencies): void {
    const { pageSize, headWidth } = this.#options;
    for (const { page, first } of entries) {
      const written = this.#written[page];
      if (written?.first === first && written.frequencies === frequencies) continue;
      this.#written[page] = { first, frequencies };
      for (let i = 0; i < pageSize; i++) {
        writeRotation(frequencies, first + i, this.#pageRows, i * headWidth, headWidth);
      }
      this.#device.queue.writeBuffer(read, page * pageSize * headWidth * 4, this.#pageRows);
    }
  }
}
