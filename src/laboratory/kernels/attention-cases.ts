// Kernels of attention, with the heads of Llama 3.2 1B, over the pages of a cache.

import { KvCache, pageBytes } from "../../context/cache/kv-cache.ts";
import { PagePool } from "../../context/cache/page-pool.ts";
import { PageTable } from "../../context/cache/page-table.ts";
import { FULL_ATTENTION } from "../../context/positions/attention-policy.ts";
import { fixedRope, ropeFrequencies } from "../../context/positions/rope-scaling.ts";
import {
  attend,
  attentionWeights,
  canFuseStore,
  ropeStore,
  storeAndAttend,
} from "../../kernels/attention/attention.ts";
import {
  type HeadShape,
  partialRows,
  partialSize,
  rotatedSize,
} from "../../kernels/attention/head-shape.ts";
import {
  bytesOfNumber,
  type KvType,
  packKv,
  throughKv,
  unpackKv,
} from "../../kernels/attention/kv-types.ts";
import * as reference from "../../kernels/reference.ts";
import type { KernelCase } from "./kernel-case.ts";
import { randomFloats } from "./random.ts";
import type { Workbench } from "./workbench.ts";

const [H, G, E, P] = [32, 8, 64, 16];

function headShape(kvType: KvType): HeadShape {
  return { heads: H, kvHeads: G, headWidth: E, pageSize: P, kvType, pairGap: 1, scale: 1 / 8 };
}

const FREQUENCIES = ropeFrequencies(
  { width: E, base: 500_000, originalContext: 8192 },
  { kind: "none" },
);

async function cacheOf(
  bench: Workbench,
  kvType: KvType,
  context: number,
  chunk: number,
): Promise<KvCache> {
  return KvCache.create(bench.device, {
    adapter: bench.adapter,
    layers: [0],
    shape: headShape(kvType),
    rope: fixedRope(FREQUENCIES),
    chunk,
    pages: Math.ceil(context / P),
  });
}

function releaseCache(bench: Workbench, cache: KvCache): void {
  const { keys, values } = cache.layers.get(0)!;
  const { rotations, slots, pageTable, work, copied } = cache;
  bench.release(keys, values, rotations, slots, pageTable, copied, ...Object.values(work));
}

/** An empty text in a cache of this many pages. */
function textIn({ pages }: KvCache): PageTable {
  return new PageTable(new PagePool(pages), FULL_ATTENTION, P);
}

/** Random numbers as a cache stores them, and as it returns them. */
function randomKv(kvType: KvType, seed: number, count: number) {
  const words = packKv(kvType, randomFloats(seed, count));
  return { words, numbers: unpackKv(kvType, words) };
}

/**
 * Attention of the last `tokens` tokens of a text of `slots`, over pages full of random keys and
 * values.
 */
async function asking(bench: Workbench, kvType: KvType, slots: number, tokens: number) {
  const shape = headShape(kvType);
  const cache = await cacheOf(bench, kvType, slots, tokens);
  const table = textIn(cache);
  table.append(slots - tokens);
  const step = cache.prepare([{ table, ...table.append(tokens) }]);
  const layer = cache.layers.get(0)!;
  // [N, G, P, E], pages in the order of the text
  const count = Math.ceil(slots / P) * P * G * E;
  const [keys, values] = [randomKv(kvType, 1, count), randomKv(kvType, 2, count)];
  const { queue } = bench.device;
  table.entries.forEach(({ page }, i) => {
    const bytes = pageBytes(shape) / 2;
    const [to, from, size] = [page * bytes, (i * bytes) / 4, bytes / 4];
    queue.writeBuffer(layer.keys, to, keys.words, from, size);
    queue.writeBuffer(layer.values, to, values.words, from, size);
  });
  const queries = randomFloats(3, rotatedSize(shape, tokens), 1 / 2);
  const rotated = await bench.buffer(queries);
  const at = (slot: number, group: number) =>
    ((Math.floor(slot / P) * G + group) * P + (slot % P)) * E;
  return {
    shape,
    cache,
    step,
    values,
    queries: rotated,
    at,
    /**
     * The last token as projected, with its key and value removed from their pages; its rotation is
     * zero.
     */
    async forgotten() {
      const { rotations, slots: to } = cache;
      const last = Array.from({ length: G }, (_, group) => at(slots - 1, group));
      const rows = ({ numbers }: { numbers: Float32Array }) =>
        last.flatMap((from) => [...numbers.subarray(from, from + E)]);
      const unscaled = queries.subarray(0, H * E).map((x) => x / shape.scale); // by a power of two
      const row = [...unscaled, ...rows(keys), ...rows(values)];
      const bytes = E * bytesOfNumber(kvType);
      const { page } = table.entries.at(-1)!;
      for (const buffer of [layer.keys, layer.values]) {
        for (let group = 0; group < G; group++) {
          const place = (page * G + group) * P + ((slots - 1) % P);
          queue.writeBuffer(buffer, place * bytes, new Uint8Array(bytes));
        }
      }
      queue.writeBuffer(
        rotations,
        0,
        Float32Array.from({ length: 3 * E }, (_, i) => 1 - (i % 2)),
      );
      const qkv = await bench.activations(1, row.length, row);
      return { qk: qkv, qkv, rotations, slots: to, rotated };
    },
    /** The score of a key for one head of a query: minus infinity if the key comes later. */
    score(t: number, head: number, slot: number): number {
      if (slot > slots - tokens + t) return Number.NEGATIVE_INFINITY;
      let sum = 0;
      const [q, k] = [(t * 2 * H + head) * E, at(slot, Math.floor(head / (H / G)))];
      for (let i = 0; i < E; i++) sum += queries[q + i]! * keys.numbers[k + i]!;
      return sum;
    },
  };
}

/** (query, key) pairs of which the key is visible. */
function visiblePairs(slots: number, tokens: number): number {
  return tokens * slots - (tokens * (tokens - 1)) / 2;
}

/**
 * x [T, H, E] = reference.softmax(queries keys^T) values, and the merge of its ranges where there
 * are several. A single token comes as its projection leaves it, if it is stored on the way.
 */
export function attentionCase(kvType: KvType, slots: number, tokens: number): KernelCase {
  const atOnce = tokens === 1 && canFuseStore(headShape(kvType));
  return {
    kernel: "attention",
    format: kvType,
    shape: `${tokens} × [${H}, ${E}], ${slots} slots`,
    bytes: 2 * slots * G * E * bytesOfNumber(kvType) + 2 * tokens * H * E * 4,
    multiplies: 2 * visiblePairs(slots, tokens) * H * E,
    async prepare(bench) {
      const asked = await asking(bench, kvType, slots, tokens);
      const { shape, cache, step, values, queries, at, score, forgotten } = asked;
      const partial = await bench.buffer(new Float32Array(partialSize(shape, partialRows(shape))));
      const x = await bench.activations(tokens, H * E);
      const target = tokens === 1 ? bench.one : bench.several;
      const { pageTable, work } = cache;
      const buffers = { pages: cache.layers.get(0)!, pageTable, work, partial, x };
      const fresh = atOnce ? await forgotten() : undefined;
      return {
        variants: [
          fresh
            ? storeAndAttend(target, { label: "attention", shape, tokens: fresh, buffers })
            : attend(target, { label: "attention", shape, queries, buffers }),
        ],
        step,
        result: () => bench.readActivations(x),
        expected() {
          const all = new Float64Array(tokens * H * E);
          for (let head = 0; head < H; head++) {
            const group = Math.floor(head / (H / G));
            const own = new Float32Array(slots * E);
            for (let slot = 0; slot < slots; slot++) {
              const from = at(slot, group);
              own.set(values.numbers.subarray(from, from + E), slot * E);
            }
            for (let t = 0; t < tokens; t++) {
              const output = reference.attend((slot) => score(t, head, slot), own, slots, E);
              all.set(output, (t * H + head) * E);
            }
          }
          return all;
        },
        release() {
          bench.release(partial, queries, x, ...(fresh ? [fresh.qkv] : []));
          releaseCache(bench, cache);
        },
      };
    },
  };
}

/** weights [H, slots] of one token. */
export function attentionWeightsCase(kvType: KvType, slots: number): KernelCase {
  return {
    kernel: "attention-weights",
    format: kvType,
    shape: `[${H}, ${E}], ${slots} slots`,
    bytes: slots * G * E * bytesOfNumber(kvType) + H * E * 4 + H * slots * 4,
    multiplies: slots * H * E,
    async prepare(bench) {
      const { shape, cache, step, queries, score } = await asking(bench, kvType, slots, 1);
      const weights = await bench.buffer(new Float32Array(H * slots));
      const { pageTable } = cache;
      const { keys } = cache.layers.get(0)!;
      const work = await bench.buffer(cache.wholeItem(0));
      const buffers = { queries, keys, pageTable, work, weights };
      const operation = { label: "attention-weights", shape, tokens: 1, ...buffers };
      return {
        variants: [attentionWeights(bench.one, operation)],
        step,
        result: () => bench.readFloats(weights),
        expected: () => {
          const scores = (head: number) =>
            Float64Array.from({ length: slots }, (_, slot) => score(0, head, slot));
          return Array.from({ length: H }, (_, head) => [
            ...reference.softmax(scores(head)),
          ]).flat();
        },
        release() {
          bench.release(queries, work, weights);
          releaseCache(bench, cache);
        },
      };
    },
  };
}

/**
 * Tolerances of stored numbers, as normalised square errors. A half, also of a scale, is off by up
 * to 2^-10, since WGSL does not define how a store rounds. And a number may be rounded to the next
 * quantum, which is an eighth of the largest in q4_0.
 */
const STORED = { f16: 1e-6, q8_0: 1e-6, q4_0: 1e-4 };

/**
 * Rotates the queries of `tokens` tokens twice, rotates their keys, and stores keys and values in
 * pages.
 */
export function ropeStoreCase(kvType: KvType, tokens: number): KernelCase {
  const shape = headShape(kvType);
  const start = 1024; // a multiple of P: the first slot of a page
  const [rows, stored] = [H + 2 * G, tokens * G * E];
  return {
    kernel: "rope-store",
    format: kvType,
    shape: `[${tokens}, ${H} + 2 × ${G}, ${E}]`,
    bytes: tokens * (rows + 2 * H + 3) * E * 4 + 2 * stored * bytesOfNumber(kvType),
    ...(kvType === "f32" ? {} : { tolerance: STORED[kvType] }),
    async prepare(bench) {
      const cache = await cacheOf(bench, kvType, start + tokens, tokens);
      const table = textIn(cache);
      table.append(start);
      const step = cache.prepare([{ table, ...table.append(tokens) }]);
      const numbers = randomFloats(1, tokens * rows * E);
      const qkv = await bench.activations(tokens, rows * E, numbers);
      const { rotations, slots } = cache;
      const layer = cache.layers.get(0)!;
      const rotated = await bench.buffer(new Float32Array(rotatedSize(shape, tokens)));
      const arriving = { qk: qkv, qkv, rotations, slots, rotated };
      const part = (t: number, row: number, count: number) =>
        numbers.subarray((t * rows + row) * E, (t * rows + row + count) * E);
      /** [T, G, E], read from the pages that the step has written. */
      const read = async (buffer: GPUBuffer) => {
        const all = unpackKv(kvType, new Uint32Array(await bench.device.read(buffer)));
        const pages = table.entries.map(({ page }) => page);
        return Float32Array.from({ length: stored }, (_, i) => {
          const [t, group, e] = [Math.floor(i / (G * E)), Math.floor(i / E) % G, i % E];
          const page = pages[Math.floor((start + t) / P)]!;
          return all[((page * G + group) * P + ((start + t) % P)) * E + e]!;
        });
      };
      return {
        variants: [
          ropeStore(bench.several, { label: "rope-store", shape, tokens: arriving, pages: layer }),
        ],
        step,
        async result() {
          const { keys, values } = layer;
          const parts = [await bench.readFloats(rotated), await read(keys), await read(values)];
          return Float32Array.from(parts.flatMap((part) => [...part]));
        },
        expected() {
          const { theta, magnitude } = FREQUENCIES;
          const each = (make: (t: number, angles: Float64Array) => Iterable<number>) =>
            Array.from({ length: tokens }, (_, t) => {
              return [
                ...make(
                  t,
                  theta.map((turn) => turn * (start + t)),
                ),
              ];
            }).flat();
          return [
            // Under full attention a query has the same position for the sinks and the window.
            ...each((t, angles) => {
              const q = reference.rope(
                part(t, 0, H),
                angles,
                shape.pairGap,
                magnitude * shape.scale,
              );
              return [...q, ...q];
            }),
            ...each((t, angles) => {
              const keys = reference.rope(part(t, H, G), angles, shape.pairGap, magnitude);
              return throughKv(kvType, Float32Array.from(keys));
            }),
            ...each((t) => throughKv(kvType, part(t, H + G, G))),
          ];
        },
        release() {
          bench.release(qkv, rotated);
          releaseCache(bench, cache);
        },
      };
    },
  };
}
