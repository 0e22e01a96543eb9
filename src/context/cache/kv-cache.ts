// The pages on the GPU, [N, G, P, E] keys and values a layer, and what a step needs to find its way in them.

import type { Adapter } from "../../kernels/adapter/adapter.ts";
import { attentionSplits } from "../../kernels/adapter/tiling.ts";
import type { HeadShape, LayerPages } from "../../kernels/attention/head-shape.ts";
import { bytesOfNumber } from "../../kernels/attention/kv-types.ts";
import { bufferBytes, CapacityError, type Device } from "../../kernels/gpu/device.ts";
import type { AttentionStep } from "../../kernels/gpu/params.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import type { AttentionPolicy } from "../positions/attention-policy.ts";
import type { Rope } from "../positions/rope-scaling.ts";
import { PagePool } from "./page-pool.ts";
import { PageTable } from "./page-table.ts";
import { type KeyStorage, Rotations, rotationBytes } from "./rotations.ts";

export interface KvCacheOptions {
  readonly adapter: Adapter;
  readonly layers: number;
  readonly shape: HeadShape;
  readonly policy: AttentionPolicy;
  readonly rope: Rope;
  /** Default: rotated. */
  readonly keys?: KeyStorage;
  /** The most tokens of a step. */
  readonly chunk: number;
  /** N: pages of the pool. */
  readonly pages: number;
}

/** Bytes of keys and values of one page in one layer. */
export function pageBytes({ kvHeads, headWidth, pageSize, kvType }: HeadShape): number {
  return 2 * kvHeads * headWidth * pageSize * bytesOfNumber(kvType);
}

/** (token, split) pairs that the partial results of attention have room for. */
export function partialRowsOf(chunk: number): number {
  return Math.max(chunk, 64);
}

/** Bytes of everything that a cache allocates. */
export function cacheBytes(options: Omit<KvCacheOptions, "adapter" | "policy" | "rope">): number {
  const { layers, shape, chunk, pages, keys = "rotated" } = options;
  const { headWidth, pageSize } = shape;
  return (
    layers * 2 * bufferBytes((pages * pageBytes(shape)) / 2) +
    rotationBytes({ keys, headWidth, pageSize, pages, chunk }) +
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
  /** Slots of the tokens of the step, [T]. */
  readonly slots: GPUBuffer;
  /** (page, first position) of the pages of the sequence, [N, 2]. */
  readonly pageTable: GPUBuffer;
  readonly #rotations: Rotations;
  readonly #device: Device;
  readonly #adapter: Adapter;
  readonly #movesBeyond: number;
  readonly #chunk: number;
  readonly #tableData: Uint32Array;

  private constructor(
    device: Device,
    options: KvCacheOptions,
    pool: PagePool,
    layers: LayerPages[],
    rotations: Rotations,
    slots: GPUBuffer,
    pageTable: GPUBuffer,
  ) {
    this.#device = device;
    this.#adapter = options.adapter;
    this.shape = options.shape;
    this.policy = options.policy;
    this.pool = pool;
    this.layers = layers;
    this.slots = slots;
    this.pageTable = pageTable;
    this.#rotations = rotations;
    this.#movesBeyond = options.rope.movesBeyond;
    this.#chunk = options.chunk;
    this.#tableData = new Uint32Array(2 * options.pages);
  }

  /** Allocates the pages of a pool, by default one of its own. */
  static async create(device: Device, options: KvCacheOptions, pool?: PagePool): Promise<KvCache> {
    const { shape, pages, chunk, keys = "rotated" } = options;
    const half = (pages * pageBytes(shape)) / 2;
    if (half > device.limits.maxStorageBufferBindingSize) {
      throw new CapacityError(
        `A cache of ${pages} pages needs ${half} bytes a layer in one binding; this adapter allows ` +
          `${device.limits.maxStorageBufferBindingSize}. Use a smaller context, a window, or smaller pages: f16, q8_0 or q4_0.`,
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
    const { headWidth, pageSize } = shape;
    const rotations = await Rotations.create(device, { ...options, keys, headWidth, pageSize });
    const slots = await device.createBuffer("slots", chunk * 4, storage);
    const pageTable = await device.createBuffer("page table", pages * 8, storage);
    return new KvCache(
      device,
      options,
      pool ?? new PagePool(pages),
      layers,
      rotations,
      slots,
      pageTable,
    );
  }

  /** (cos, sin) of the tokens of the step, [3, T, E/2, 2]: queries before the window, before the sinks, keys as stored. */
  get rotations(): GPUBuffer {
    return this.#rotations.step;
  }

  /** What keys are turned by when they are read, [N P, E/2, 2], where they are stored raw. */
  get keyRotations(): GPUBuffer | undefined {
    return this.#rotations.read;
  }

  /** An empty sequence, under the policy of the cache or one of its own. */
  sequence(policy: AttentionPolicy = this.policy): PageTable {
    return new PageTable(this.pool, policy, this.shape.pageSize);
  }

  /**
   * The most tokens that the next step of a sequence may take: no more than fit the pool beside what its window holds.
   * Where frequencies move with the text, tokens go one at a time, so that each sees those of its own length, however
   * its prompt is cut.
   */
  stepLimit(sequence: PageTable): number {
    const { sinks, window } = sequence.policy;
    const { pageSize: P } = this.shape;
    const room =
      window === Number.POSITIVE_INFINITY
        ? window
        : P * (this.pool.size - Math.ceil(sinks / P) - 1) - (window - 1); // pagesNeeded, solved for the chunk
    const still = this.#movesBeyond - sequence.length;
    return Math.max(1, Math.min(this.#chunk, room, still));
  }

  /**
   * Appends `tokens` tokens to a sequence and uploads where they go and what they see. Returns the step's values for
   * the kernels.
   */
  prepare(sequence: PageTable, tokens: number): AttentionStep {
    const start = sequence.length;
    const slots = sequence.append(tokens);
    const { queue } = this.#device;
    queue.writeBuffer(this.slots, 0, slots);
    this.#rotations.write(sequence, tokens);

    const { entries } = sequence;
    entries.forEach(({ page, first }, i) => {
      this.#tableData[2 * i] = page;
      this.#tableData[2 * i + 1] = first;
    });
    queue.writeBuffer(this.pageTable, 0, this.#tableData, 0, 2 * entries.length);

    const slotCount = entries.length * this.shape.pageSize;
    const room = Math.floor(partialRowsOf(this.#chunk) / tokens);
    const wanted = attentionSplits(this.#adapter, slotCount, this.shape.kvHeads * tokens);
    const splits = Math.min(wanted, Math.max(1, room));
    return {
      tokens,
      start,
      slots: slotCount,
      slots_per_split: Math.ceil(slotCount / splits),
      splits,
      sinks: sequence.policy.sinks,
      window: Math.min(sequence.policy.window, 0xffffffff),
    };
  }
}
