// Reads the attention weights of one layer in a step with a separate kernel. It runs right before
// the layer's attention, after queries are rotated and keys stored; if the step does not do this in
// a dispatch of its own, the probe adds one. The forward pass does not know of it.

import type { KvCache } from "../../context/cache/kv-cache.ts";
import type { PageTable } from "../../context/cache/page-table.ts";
import type { Target } from "../../kernels/adapter/target.ts";
import { attentionWeights, ropeStore } from "../../kernels/attention/attention.ts";
import type { CacheShape } from "../../kernels/attention/head-shape.ts";
import { ITEM_WORDS } from "../../kernels/attention/work.ts";
import { checkGrids, type Dispatch } from "../../kernels/gpu/commands.ts";
import type { Device } from "../../kernels/gpu/device.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import { attentionInputs, type Scratch } from "../model/forward.ts";
import type { LayerTraits } from "../model/traits.ts";
import type { LayerWeights } from "../model/weights.ts";
import { firstNotFinite, NotFiniteError } from "./not-finite.ts";

/** What one query attended to. */
export interface AttentionRow {
  /** Position of the query in the text. */
  readonly query: number;
  /**
   * Positions of the keys that the cache holds for it, ascending, its own last. Missing positions
   * have been evicted.
   */
  readonly keys: Uint32Array;
  /**
   * [H, keys.length]: the weights of a head add up to 1; they are 0 for keys that are still held
   * but that the policy hides.
   */
  readonly weights: Float32Array;
}

/** Most bytes of weights that are read back at a time. */
const WEIGHT_BYTES = 32 << 20;

function rowBytes({ heads, pageSize }: CacheShape, pages: number): number {
  return heads * pages * pageSize * 4;
}

/** The most tokens of a step whose attention weights are read, over a cache of this many pages. */
export function attentionRowsOf(shape: CacheShape, pages: number): number {
  return Math.max(1, Math.floor(WEIGHT_BYTES / rowBytes(shape, pages)));
}

/** The layer whose weights are read, and the tokens of one text that are asked about. */
interface Probed {
  readonly layer: number;
  readonly traits: LayerTraits;
  readonly weights: LayerWeights;
  readonly count: number;
}

/** Reads the attention weights of one step. */
export class AttentionProbe {
  readonly #tokens: number;
  readonly #device: Device;
  readonly #shape: CacheShape;
  readonly #work: GPUBuffer;
  readonly #weights: GPUBuffer;
  readonly dispatches: readonly Dispatch[];
  /** The label of the dispatch that the probe runs before. */
  readonly #before: string;

  private constructor(
    device: Device,
    shape: CacheShape,
    tokens: number,
    { work, weights }: { readonly work: GPUBuffer; readonly weights: GPUBuffer },
    dispatches: readonly Dispatch[],
    before: string,
  ) {
    this.#tokens = tokens;
    this.#device = device;
    this.#shape = shape;
    this.#work = work;
    this.#weights = weights;
    this.dispatches = dispatches;
    this.#before = before;
  }

  static async create(
    device: Device,
    target: Target,
    cache: KvCache,
    scratch: Pick<Scratch, "qkNormed" | "qkv" | "rotated">,
    { layer, count, traits, weights: layerWeights }: Probed,
  ): Promise<AttentionProbe> {
    const { pageTable, keyRotations } = cache;
    const { shape, tokens: arriving } = attentionInputs(traits, layerWeights, cache, scratch);
    const pages = cache.layers.get(layer)!;
    const usage = USAGE.STORAGE | USAGE.COPY_SRC;
    const bytes = count * rowBytes(shape, cache.pages);
    const weights = await device.createBuffer("attention weights", bytes, usage);
    const work = await device.createBuffer(
      "work of attention weights",
      ITEM_WORDS * 4,
      USAGE.STORAGE | USAGE.COPY_DST,
    );
    const before = `blk.${layer}.attention`;
    const label = `${before} weights`;
    const dispatches = [
      ...ropeStore(target, { label, shape, tokens: arriving, pages }),
      ...attentionWeights(target, {
        label,
        shape,
        queries: scratch.rotated,
        keys: pages.keys,
        pageTable,
        keyRotations,
        work,
        tokens: count,
        weights,
      }),
    ];
    checkGrids(device, dispatches, { tokens: 1 });
    return new AttentionProbe(device, shape, count, { work, weights }, dispatches, before);
  }

  /** The dispatches of the layers, with those of the probe inserted. */
  insertInto(layers: readonly Dispatch[]): Dispatch[] {
    const at = layers.findIndex(({ label }) => label === this.#before);
    return [...layers.slice(0, at), ...this.dispatches, ...layers.slice(at)];
  }

  /** Says which tokens of the step are asked about: an item of work, as `KvCache.wholeItem` gives it. Before its submit. */
  ask(item: Uint32Array<ArrayBuffer>): void {
    this.#device.queue.writeBuffer(this.#work, 0, item);
  }

  /** What the last tokens of a page table attended to, after the step that appended them. */
  async rows(table: PageTable): Promise<AttentionRow[]> {
    const tokens = this.#tokens;
    const { heads: H, pageSize: P } = this.#shape;
    const slots = table.entries.length * P;
    const all = new Float32Array(await this.#device.read(this.#weights, 0, tokens * H * slots * 4));
    const broken = firstNotFinite(all);
    if (broken >= 0) {
      const head = Math.floor(broken / slots) % H;
      const what = `A weight of ${this.#before}, head ${head}, is ${all[broken]}`;
      throw new NotFiniteError(what, this.#shape.kvType);
    }
    const positions = table.entries.flatMap(({ first }) =>
      Array.from({ length: P }, (_, i) => first + i),
    );
    return Array.from({ length: tokens }, (_, t) => {
      const query = table.length - tokens + t;
      const keys = Uint32Array.from(positions.filter((position) => position <= query));
      const weights = new Float32Array(H * keys.length);
      for (let head = 0; head < H; head++) {
        const from = (t * H + head) * slots;
        weights.set(all.subarray(from, from + keys.length), head * keys.length);
      }
      return { query, keys, weights };
    });
  }

  release(): void {
    this.#device.release(this.#work);
    this.#device.release(this.#weights);
  }
}
