// The pages on the GPU, [N, G, P, E] keys and values a layer, and what a step needs to find its way in them.

import { bufferBytes, CapacityError, type Device } from "../../kernels/device.ts";
import type { CellType, HeadShape, LayerPages } from "../../kernels/ops.ts";
import type { StepValues } from "../../kernels/params.ts";
import { USAGE } from "../../kernels/usage.ts";
import { type AttentionPolicy, sinkPosition } from "../attention-policy.ts";
import { type RopeFrequencies, writeTurns } from "../rope-scaling.ts";
import { PagePool } from "./page-pool.ts";
import { PageTable } from "./page-table.ts";

export interface KvCacheOptions {
  readonly layers: number;
  readonly shape: HeadShape;
  readonly policy: AttentionPolicy;
  readonly rope: RopeFrequencies;
  /** The most tokens of a step. */
  readonly chunk: number;
  /** N: pages of the pool. */
  readonly pages: number;
}

/** Slots of the page table that one workgroup takes while decoding, before the work is split over more of them. */
const SLOTS_PER_SPLIT = 256;

const CELL_BYTES: Record<CellType, number> = { f32: 4, f16: 2 };

/** Bytes of keys and values of one page in one layer. */
export function pageBytes({ kvHeads, headWidth, pageSize, cells }: HeadShape): number {
  return 2 * kvHeads * headWidth * pageSize * CELL_BYTES[cells];
}

/** (token, split) pairs that the partial results of attention have room for. */
export function partialRowsOf(chunk: number): number {
  return Math.max(chunk, 64);
}

/** Bytes of everything that a cache allocates. */
export function cacheBytes({
  layers,
  shape,
  chunk,
  pages,
}: Omit<KvCacheOptions, "policy" | "rope">): number {
  return (
    layers * 2 * bufferBytes((pages * pageBytes(shape)) / 2) +
    bufferBytes(2 * chunk * shape.headWidth * 4) +
    bufferBytes(chunk * 4) +
    bufferBytes(pages * 8)
  );
}

export class KvCache {
  readonly shape: HeadShape;
  readonly policy: AttentionPolicy;
  readonly pool: PagePool;
  /** The pages of each layer. */
  readonly layers: readonly LayerPages[];
  /** (cos, sin) of the tokens of the step, [2, T, E/2, 2]: for the window, then for the sinks. */
  readonly turns: GPUBuffer;
  /** Slots of the tokens of the step, [T]. */
  readonly slots: GPUBuffer;
  /** (page, first position) of the pages of the sequence, [N, 2]. */
  readonly pageTable: GPUBuffer;
  readonly #device: Device;
  readonly #rope: RopeFrequencies;
  readonly #partialRows: number;
  readonly #turnsData: Float32Array;
  readonly #tableData: Uint32Array;

  private constructor(
    device: Device,
    options: KvCacheOptions,
    layers: LayerPages[],
    buffers: GPUBuffer[],
  ) {
    this.#device = device;
    this.shape = options.shape;
    this.policy = options.policy;
    this.pool = new PagePool(options.pages);
    this.layers = layers;
    [this.turns, this.slots, this.pageTable] = buffers as [GPUBuffer, GPUBuffer, GPUBuffer];
    this.#partialRows = partialRowsOf(options.chunk);
    this.#rope = options.rope;
    this.#turnsData = new Float32Array(2 * options.chunk * options.shape.headWidth);
    this.#tableData = new Uint32Array(2 * options.pages);
  }

  static async create(device: Device, options: KvCacheOptions): Promise<KvCache> {
    const { shape, pages, chunk } = options;
    const half = (pages * pageBytes(shape)) / 2;
    if (half > device.limits.maxStorageBufferBindingSize) {
      throw new CapacityError(
        `A cache of ${pages} pages needs ${half} bytes a layer in one binding; this adapter allows ` +
          `${device.limits.maxStorageBufferBindingSize}. Use a smaller context, a window, or f16 pages.`,
      );
    }
    const storage = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;
    const layers: LayerPages[] = [];
    for (let layer = 0; layer < options.layers; layer++) {
      layers.push({
        keys: await device.createBuffer(`keys of layer ${layer}`, half, storage),
        values: await device.createBuffer(`values of layer ${layer}`, half, storage),
      });
    }
    return new KvCache(device, options, layers, [
      await device.createBuffer("turns", 2 * chunk * shape.headWidth * 4, storage),
      await device.createBuffer("slots", chunk * 4, storage),
      await device.createBuffer("page table", pages * 8, storage),
    ]);
  }

  /** An empty sequence. */
  sequence(): PageTable {
    return new PageTable(this.pool, this.policy, this.shape.pageSize);
  }

  /**
   * Appends `tokens` tokens to a sequence and uploads where they go and what they see. Returns the step's values for
   * the kernels.
   */
  prepare(sequence: PageTable, tokens: number): StepValues {
    const start = sequence.length;
    const slots = sequence.append(tokens);
    const { queue } = this.#device;
    queue.writeBuffer(this.slots, 0, slots);

    const width = this.shape.headWidth;
    for (let t = 0; t < tokens; t++) {
      writeTurns(this.#rope, start + t, this.#turnsData, t * width);
      const sink = sinkPosition(this.policy, start + t);
      writeTurns(this.#rope, sink, this.#turnsData, (tokens + t) * width);
    }
    queue.writeBuffer(this.turns, 0, this.#turnsData, 0, 2 * tokens * width);

    const { entries } = sequence;
    entries.forEach(({ page, first }, i) => {
      this.#tableData[2 * i] = page;
      this.#tableData[2 * i + 1] = first;
    });
    queue.writeBuffer(this.pageTable, 0, this.#tableData, 0, 2 * entries.length);

    const slotCount = entries.length * this.shape.pageSize;
    const splits = Math.min(
      Math.ceil(slotCount / SLOTS_PER_SPLIT),
      Math.max(1, Math.floor(this.#partialRows / tokens)),
    );
    return {
      tokens,
      start,
      slots: slotCount,
      slots_per_split: Math.ceil(slotCount / splits),
      splits,
      sinks: this.policy.sinks,
      window: Math.min(this.policy.window, 0xffffffff),
      first: 0,
    };
  }
}
