// The pages of one cache group on the GPU, [N, G, P, E] keys and values a layer, and the buffers by
// which a step finds them. Which sequence has which page is decided in cache-pages.ts, without a
// GPU.

import type { Adapter } from "../../kernels/adapter/adapter.ts";
import {
  attentionRange,
  attentionTokens,
  longAttention,
  SPARE_RANGES,
} from "../../kernels/adapter/tiling.ts";
import type { WorkBuffers } from "../../kernels/attention/attention.ts";
import {
  type CacheShape,
  type LayerPages,
  partialRows,
} from "../../kernels/attention/head-shape.ts";
import { bytesOfNumber } from "../../kernels/attention/kv-types.ts";
import {
  ITEM_WORDS,
  MERGE_WORDS,
  planWork,
  SHORT_PIECE,
  type WorkOptions,
} from "../../kernels/attention/work.ts";
import type { Commands } from "../../kernels/gpu/commands.ts";
import { bufferBytes, CapacityError, type Device } from "../../kernels/gpu/device.ts";
import type { AttentionStep } from "../../kernels/gpu/params.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import type { Rope } from "../positions/rope-scaling.ts";
import type { CacheGroup } from "./cache-pages.ts";
import type { Appended, PageCopy, PageTable } from "./page-table.ts";
import { type KeyStorage, Rotations, rotationBytes } from "./rotations.ts";

export interface KvCacheOptions extends Pick<CacheGroup, "layers" | "pages" | "ahead"> {
  readonly adapter: Adapter;
  readonly shape: CacheShape;
  readonly rope: Rope;
  /** Default: rotated. */
  readonly keys?: KeyStorage | undefined;
  /** The most tokens of a step. */
  readonly chunk: number;
  /** Text positions of the ranges that keys are split into: by default what suits the adapter. */
  readonly range?: WorkOptions["range"] | undefined;
}

/** The last tokens of a text that a step computes: their slots and copies are what `append` gave. */
export interface StepPiece extends Appended {
  readonly table: PageTable;
}

/** Bytes of keys and values of one page in one layer. */
export function pageBytes({ kvHeads, headWidth, pageSize, kvType }: CacheShape): number {
  return 2 * kvHeads * headWidth * pageSize * bytesOfNumber(kvType);
}

/**
 * The most texts of a step: there is room for as many page tables, each as long as the cache has
 * pages, since a page that several texts share is in the table of each.
 */
export const STEP_TEXTS = 64;

/** Lengths of the longest lists that a step writes. */
function stepSizes({ shape, chunk, pages }: Pick<KvCacheOptions, "shape" | "chunk" | "pages">) {
  const items = chunk + partialRows(shape);
  return { items, merges: chunk, entries: Math.min(chunk, STEP_TEXTS) * pages };
}

/** Bytes of everything that the cache of a group allocates. */
export function cacheBytes(options: Omit<KvCacheOptions, "adapter" | "rope">): number {
  const { layers, shape, chunk, pages, keys = "rotated" } = options;
  const { headWidth, pageSize } = shape;
  const { items, merges, entries } = stepSizes(options);
  return (
    layers.length * 2 * bufferBytes((pages * pageBytes(shape)) / 2) +
    rotationBytes({ keys, headWidth, pageSize, pages, chunk }) +
    bufferBytes(pageBytes(shape) / 2) +
    bufferBytes(chunk * 4) +
    bufferBytes(entries * 8) +
    2 * bufferBytes(items * ITEM_WORDS * 4) +
    bufferBytes(merges * MERGE_WORDS * 4)
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
  /** (page, first position) [.., 2] of the pages of the texts of the step, one after the other. */
  readonly pageTable: GPUBuffer;
  /** What attention does in the step. */
  readonly work: WorkBuffers;
  readonly #rotations: Rotations;
  /** The keys, or the values, of one page in one layer, on their way from one page to another. */
  readonly copied: GPUBuffer;
  readonly #device: Device;
  readonly #chunk: number;
  readonly #ahead: number;
  readonly #workOptions: WorkOptions;
  #step: AttentionStep | undefined;
  #pieces = new Uint32Array();

  private constructor(
    device: Device,
    options: KvCacheOptions,
    buffers: Pick<KvCache, "layers" | "slots" | "pageTable" | "work">,
    rotations: Rotations,
    copied: GPUBuffer,
  ) {
    this.#device = device;
    this.copied = copied;
    this.shape = options.shape;
    this.pages = options.pages;
    this.layers = buffers.layers;
    this.slots = buffers.slots;
    this.pageTable = buffers.pageTable;
    this.work = buffers.work;
    this.#rotations = rotations;
    this.#chunk = options.chunk;
    this.#ahead = options.ahead ?? 0;
    const { heads, kvHeads, pageSize } = options.shape;
    const rows = partialRows(options.shape, device.limits.maxStorageBufferBindingSize);
    const most = Math.max(1, Math.floor(rows / SHORT_PIECE) - SPARE_RANGES);
    const short = attentionTokens(heads / kvHeads);
    const long = longAttention(options.adapter, options.shape).tokens;
    const {
      range = (keys, tiles) =>
        attentionRange(options.adapter, { keys, groups: kvHeads * tiles, most }),
    } = options;
    this.#workOptions = { pageSize, tokens: { short, long }, range, rows };
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
    const { items, merges, entries } = stepSizes(options);
    const pageTable = await device.createBuffer("page tables", entries * 8, storage);
    const itemBytes = items * ITEM_WORDS * 4;
    const work = {
      short: await device.createBuffer("work of attention", itemBytes, storage),
      long: await device.createBuffer("work of attention to prompts", itemBytes, storage),
      merges: await device.createBuffer("merges", merges * MERGE_WORDS * 4, storage),
    };
    const copied = await device.createBuffer("copied page", pageBytes(shape) / 2, storage);
    return new KvCache(device, options, { layers, slots, pageTable, work }, rotations, copied);
  }

  /** The values of the step that was prepared last. Undefined before the first. */
  get step(): AttentionStep | undefined {
    return this.#step;
  }

  /** The values of a step that needs the largest grids. */
  get largestStep(): AttentionStep {
    const { items, merges } = stepSizes({
      shape: this.shape,
      chunk: this.#chunk,
      pages: this.pages,
    });
    const short_tokens = this.#workOptions.tokens.short;
    return { tokens: this.#chunk, short_items: items, long_items: items, short_tokens, merges };
  }

  /**
   * An item of work for a piece of the step that was prepared last: its tokens, and all slots of
   * its pages.
   */
  wholeItem(piece: number): Uint32Array<ArrayBuffer> {
    return this.#pieces.slice(piece * ITEM_WORDS, (piece + 1) * ITEM_WORDS);
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

  /** Records copies of pages in all layers, one after the other, before a step writes to any of them. */
  copyPages(commands: Commands, copies: readonly PageCopy[]): void {
    if (copies.length === 0) return;
    const { encoder } = commands;
    const bytes = pageBytes(this.shape) / 2;
    for (const { keys, values } of this.layers.values()) {
      for (const buffer of [keys, values]) {
        for (const { from, to } of copies) {
          // By way of another buffer: WebGPU copies nothing within one.
          encoder.copyBufferToBuffer(buffer, from * bytes, this.copied, 0, bytes);
          encoder.copyBufferToBuffer(this.copied, 0, buffer, to * bytes, bytes);
        }
      }
    }
  }

  /** The keys, or the values, of pages in a layer, one after the other. */
  async readPages(
    layer: number,
    of: keyof LayerPages,
    pages: readonly number[],
  ): Promise<Uint8Array> {
    const bytes = pageBytes(this.shape) / 2;
    if (pages.length === 0) return new Uint8Array();
    const from = this.layers.get(layer)![of];
    const pieces = pages.map((page) => ({ offset: page * bytes, size: bytes }));
    return new Uint8Array(await this.#device.gather(from, pieces));
  }

  /** Writes what `readPages` has given to other pages of a layer. */
  writePages(
    layer: number,
    of: keyof LayerPages,
    pages: readonly number[],
    content: Uint8Array<ArrayBuffer>,
  ): void {
    const bytes = pageBytes(this.shape) / 2;
    const into = this.layers.get(layer)![of];
    for (const [i, page] of pages.entries()) {
      this.#device.queue.writeBuffer(into, page * bytes, content, i * bytes, bytes);
    }
  }

  /**
   * Uploads the slots of the tokens of a step, piece after piece, the page tables of their texts,
   * the work of attention and the rotations. Returns the step's values for the kernels. No text may
   * have two pieces. If keys are stored raw, texts that share pages must rotate alike.
   */
  prepare(pieces: readonly StepPiece[]): AttentionStep {
    const { queue } = this.#device;
    const tokens = pieces.reduce((sum, { slots }) => sum + slots.length, 0);
    const allSlots = new Uint32Array(tokens);
    let token = 0;
    for (const { slots } of pieces) {
      allSlots.set(slots, token);
      token += slots.length;
    }
    queue.writeBuffer(this.slots, 0, allSlots);
    this.#rotations.write(pieces.map(({ table, slots }) => ({ table, tokens: slots.length })));

    const asked = pieces.map(({ table, slots }) => ({
      tokens: slots.length,
      start: table.length - slots.length,
      entries: table.entries,
      sinks: table.policy.sinks,
      window: Math.min(table.policy.window, 0xffffffff),
      ahead: this.#ahead,
    }));
    const work = planWork(asked, this.#workOptions);
    queue.writeBuffer(this.pageTable, 0, work.tables);
    queue.writeBuffer(this.work.short, 0, work.short);
    queue.writeBuffer(this.work.long, 0, work.long);
    queue.writeBuffer(this.work.merges, 0, work.merges);
    this.#pieces = work.pieces;
    this.#step = {
      tokens,
      short_items: work.short.length / ITEM_WORDS,
      long_items: work.long.length / ITEM_WORDS,
      short_tokens: work.shortTokens,
      merges: work.merges.length / MERGE_WORDS,
    };
    return this.#step;
  }
}
