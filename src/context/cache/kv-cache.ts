// The pages of one cache group on the GPU, [N, G, P, E] keys and values a layer, and the buffers by
// which a step finds them. Which sequence has which page is decided in cache-pages.ts, without a
// GPU.

import type { Adapter } from "../../kernels/adapter/adapter.ts";
import { attentionSplits } from "../../kernels/adapter/tiling.ts";
import type { CacheShape, LayerPages } from "../../kernels/attention/head-shape.ts";
import { bytesOfNumber } from "../../kernels/attention/kv-types.ts";
import { bufferBytes, CapacityError, type Device } from "../../kernels/gpu/device.ts";
import type { AttentionStep, StepValues } from "../../kernels/gpu/params.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import type { Rope } from "../positions/rope-scaling.ts";
import type { CacheGroup } from "./cache-pages.ts";
import type { PageTable } from "./page-table.ts";
import { type KeyStorage, Rotations, rotationBytes } from "./rotations.ts";

export interface KvCacheOptions extends Pick<CacheGroup, "layers" | "pages"> {
  readonly adapter: Adapter;
  readonly shape: CacheShape;
  readonly rope: Rope;
  /** Default: rotated. */
  readonly keys?: KeyStorage | undefined;
  /** The most tokens of a step. */
  readonly chunk: number;
}

/** Bytes of keys and values of one page in one layer. */
export function pageBytes({ kvHeads, headWidth, pageSize, kvType }: CacheShape): number {
  return 2 * kvHeads * headWidth * pageSize * bytesOfNumber(kvType);
}

/** Number of (token, split) pairs that the partial results of attention have room for. */
export function partialRowsOf(chunk: number): number {
  return Math.max(chunk, 64);
}

/** Bytes of everything that the cache of a group allocates. */
export function cacheBytes(options: Omit<KvCacheOptions, "adapter" | "rope">): number {
  const { layers, shape, chunk, pages, keys = "rotated" } = options;
  const { headWidth, pageSize } = shape;
  return (
    layers.length * 2 * bufferBytes((pages * pageBytes(shape)) / 2) +
    rotationBytes({ keys, headWidth, pageSize, pages, chunk }) +
    bufferBytes(chunk * 4) +
    bufferBytes(pages * 8)
  );
}

export class KvCache {
  readonly shape: CacheShape;
  /** N */
  readonly pages: number;
  /** The pages of each layer, by the layer's number in the model. */
  readonly layers: ReadonlyMap<number, LayerPages>;
  /** Slots [T] of the tokens of the step. */
  readonly slots: GPUBuffer;
  /** (page, first position) of the pages of the sequence, [N, 2]. */
  readonly pageTable: GPUBuffer;
  readonly #rotations: Rotations;
  readonly #device: Device;
  readonly #adapter: Adapter;
  readonly #chunk: number;
  readonly #tableData: Uint32Array;
  #step: StepValues | undefined;

  private constructor(
    device: Device,
    options: KvCacheOptions,
    buffers: Pick<KvCache, "layers" | "slots" | "pageTable">,
    rotations: Rotations,
  ) {
    this.#device = device;
    this.#adapter = options.adapter;
    this.shape = options.shape;
    this.pages = options.pages;
    this.layers = buffers.layers;
    this.slots = buffers.slots;
    this.pageTable = buffers.pageTable;
    this.#rotations = rotations;
    this.#chunk = options.chunk;
    this.#tableData = new Uint32Array(2 * options.pages);
  }

  static async create(device: Device, options: KvCacheOptions): Promise<KvCache> {
    const { shape, pages, chunk, keys = "rotated" } = options;
    const half = (pages * pageBytes(shape)) / 2;
    if (half > device.limits.maxStorageBufferBindingSize) {
      throw new CapacityError(
        `A cache of ${pages} pages needs ${half} bytes a layer in one binding; this adapter allows ` +
          `${device.limits.maxStorageBufferBindingSize}. Use a smaller context, a window, or smaller pages: f16, q8_0 or q4_0.`,
      );
    }
    const storage = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;
    const layers = new Map<number, LayerPages>();
    for (const layer of options.layers) {
      layers.set(layer, {
        keys: await device.createBuffer(`keys of layer ${layer}`, half, storage),
        values: await device.createBuffer(`values of layer ${layer}`, half, storage),
      });
    }
    const { headWidth, pageSize } = shape;
    const rotations = await Rotations.create(device, { ...options, keys, headWidth, pageSize });
    const slots = await device.createBuffer("slots", chunk * 4, storage);
    const pageTable = await device.createBuffer("page table", pages * 8, storage);
    return new KvCache(device, options, { layers, slots, pageTable }, rotations);
  }

  /** The values of the step that was prepared last. Undefined before the first. */
  get step(): StepValues | undefined {
    return this.#step;
  }

  /**
   * (cos, sin) of the tokens of the step, [3, T, E/2, 2]: queries before the window, before the
   * sinks, keys as stored.
   */
  get rotations(): GPUBuffer {
    return this.#rotations.step;
  }

  /**
   * (cos, sin) that keys are rotated by when they are read, [N P, E/2, 2], if they are stored raw.
   */
  get keyRotations(): GPUBuffer | undefined {
    return this.#rotations.read;
  }

  /**
   * Uploads the slots of the last tokens of a table, as `append` returned them, its pages and
   * rotations. Returns the step's values for the kernels.
   */
  prepare(pieces: readonly { table: PageTable; slots: Uint32Array<ArrayBuffer> }[]): AttentionStep {
    const { table, slots } = pieces[0]!;
    const tokens = slots.length;
    const { queue } = this.#device;
    queue.writeBuffer(this.slots, 0, slots);
    this.#rotations.write(table, tokens);

    const { entries } = table;
    entries.forEach(({ page, first }, i) => {
      this.#tableData[2 * i] = page;
      this.#tableData[2 * i + 1] = first;
    });
    queue.writeBuffer(this.pageTable, 0, this.#tableData, 0, 2 * entries.length);

    const slotCount = entries.length * this.shape.pageSize;
    const room = Math.floor(partialRowsOf(this.#chunk) / tokens);
    const wanted = attentionSplits(this.#adapter, slotCount, this.shape.kvHeads * tokens);
    const splits = Math.min(wanted, Math.max(1, room));
    const step: AttentionStep = {
      tokens,
      start: table.length - tokens,
      slots: slotCount,
      slots_per_split: Math.ceil(slotCount / splits),
      splits,
      sinks: table.policy.sinks,
      window: Math.min(table.policy.window, 0xffffffff),
    };
    this.#step = step;
    return step;
  }
}
