// What the kernel bench runs: a kernel on tensors of the 134 M shape, and what it must compute.

import { FULL_ATTENTION } from "../../src/context/attention-policy.ts";
import { KvCache, partialRowsOf } from "../../src/context/cache/kv-cache.ts";
import { fixedRope, ropeFrequencies } from "../../src/context/rope-scaling.ts";
import { rowBytes, type WeightFormat } from "../../src/kernels/formats/format.ts";
import { FORMATS } from "../../src/kernels/formats/index.ts";
import { floatToHalf, halfToFloat } from "../../src/kernels/half.ts";
import { type HeadShape, partialSizes, rotatedSize } from "../../src/kernels/head-shape.ts";
import type { StepValues } from "../../src/kernels/params.ts";
import type { Dispatch } from "../../src/kernels/recorder.ts";
import { attend, project, rmsNorm, rope, swiglu } from "../../src/kernels/reference.ts";
import { decode, randomTensor } from "../../test/support/blocks.ts";
import type { TestGpu } from "../../test/support/gpu.ts";
import { randomFloats } from "../../test/support/numbers.ts";

export interface KernelCase {
  readonly kernel: string;
  /** Of weights, or of the cells of a cache. */
  readonly format: string;
  readonly shape: string;
  /** What it reads most of: weights; keys and values; activations, which are written, too. */
  readonly bytes: number;
  prepare(gpu: TestGpu): Promise<PreparedCase>;
}

export interface PreparedCase {
  readonly dispatches: readonly Dispatch[];
  readonly step: StepValues;
  /** What it has computed, and what reference.ts computes. */
  result(): Promise<Float32Array>;
  expected(): ArrayLike<number>;
  release(): void;
}

const D = 768;
const F = 2048;
const V = 32000;
const PREFILL = 64;

export function kernelCases(): KernelCase[] {
  const formats = [...FORMATS.values()];
  const matrices = (tokens: number): KernelCase[] => [
    ...formats.map((format) => multiply(format, F, D, tokens)),
    ...formats.map((format) => multiply(format, D, F, tokens)),
  ];
  return [
    ...matrices(1),
    multiply(FORMATS.get("Q6_K")!, V, D, 1), // the output
    ...matrices(PREFILL),
    ...(["f16", "f32"] as const).flatMap((cells) =>
      [128, 1024, 4096].map((slots) => attention(cells, slots)),
    ),
    norm(1),
    norm(PREFILL),
    gate(1),
    gate(PREFILL),
    rotation(),
  ];
}

/** y [T, n] = x [T, k] W^T: matvec for one token, matmul for several. */
function multiply(format: WeightFormat, n: number, k: number, tokens: number): KernelCase {
  return {
    kernel: tokens === 1 ? "matvec" : "matmul",
    format: format.name,
    shape: `[${n}, ${k}]${tokens === 1 ? "" : ` × ${tokens}`}`,
    bytes: n * rowBytes(format, k),
    async prepare(gpu) {
      const file = randomTensor(format, n, k, 1);
      const numbers = randomFloats(2, tokens * k);
      const weights = await gpu.weights(format, n, k, file);
      const x = await gpu.activations(tokens, k, numbers);
      const y = await gpu.activations(tokens, n);
      return {
        dispatches: (tokens === 1 ? gpu.single : gpu.several).project(x, weights, y),
        step: { tokens },
        result: () => gpu.readActivations(y),
        expected: () => project(numbers, decode(format, file), tokens, n, k),
        release: () => gpu.release(weights, x, y),
      };
    },
  };
}

function norm(tokens: number): KernelCase {
  return {
    kernel: "rms-norm",
    format: "f32",
    shape: `[${tokens}, ${D}]`,
    bytes: 2 * tokens * D * 4,
    async prepare(gpu) {
      const [numbers, factors] = [randomFloats(1, tokens * D), randomFloats(2, D)];
      const x = await gpu.activations(tokens, D, numbers);
      const y = await gpu.activations(tokens, D);
      const weight = await gpu.vector(factors);
      return {
        dispatches: gpu.several.rmsNorm(x, weight, y, 1e-5),
        step: { tokens },
        result: () => gpu.readActivations(y),
        expected: () => rmsNorm(numbers, factors, tokens, 1e-5),
        release: () => gpu.release(x, y, weight),
      };
    },
  };
}

/** gate = silu(gate) up. It works in place: the runs that are timed go on from each other's results. */
function gate(tokens: number): KernelCase {
  return {
    kernel: "swiglu",
    format: "f32",
    shape: `[${tokens}, ${F}]`,
    bytes: 3 * tokens * F * 4,
    async prepare(gpu) {
      const [numbers, factors] = [randomFloats(1, tokens * F, 4), randomFloats(2, tokens * F)];
      const rows = Array.from({ length: tokens }, (_, t) => [
        ...numbers.subarray(t * F, (t + 1) * F),
        ...factors.subarray(t * F, (t + 1) * F),
      ]);
      const both = await gpu.activations(tokens, 2 * F, rows.flat());
      const hidden = await gpu.activations(tokens, F);
      return {
        dispatches: gpu.several.swiglu("swiglu", both, hidden),
        step: { tokens },
        result: () => gpu.readActivations(hidden),
        expected: () => swiglu(numbers, factors),
        release: () => gpu.release(both, hidden),
      };
    },
  };
}

/** The heads of the 134 M shape. */
function headShape(cells: "f16" | "f32"): HeadShape {
  const [heads, kvHeads, headWidth, pageSize] = [12, 12, 64, 16];
  return { heads, kvHeads, headWidth, pageSize, cells, pairGap: 1, scale: 1 / 8 };
}

const ROPE = { width: 64, base: 10000, originalContext: 4096 };

async function cacheOf(gpu: TestGpu, shape: HeadShape, context: number): Promise<KvCache> {
  return KvCache.create(gpu.device, {
    layers: 1,
    shape,
    policy: FULL_ATTENTION,
    rope: fixedRope(ropeFrequencies(ROPE, { kind: "none" })),
    chunk: 1,
    pages: Math.ceil(context / shape.pageSize),
  });
}

function releaseCache(gpu: TestGpu, { layers, turns, slots, pageTable }: KvCache): void {
  gpu.release(...layers.flatMap(({ keys, values }) => [keys, values]), turns, slots, pageTable);
}

/** One token attends over as many slots, itself included. */
function attention(cells: "f16" | "f32", slots: number): KernelCase {
  const shape = headShape(cells);
  const { heads: H, kvHeads: G, headWidth: E, pageSize: P } = shape;
  const count = slots * G * E;
  return {
    kernel: "attention",
    format: cells,
    shape: `${slots} slots, [${H}, ${E}]`,
    bytes: 2 * count * (cells === "f16" ? 2 : 4),
    async prepare(gpu) {
      const cache = await cacheOf(gpu, shape, slots);
      // [N, G, P, E], pages in the order of the text; as many bits as a cell has.
      const page = (seed: number) => {
        const numbers = randomFloats(seed, count);
        if (cells === "f32") return { data: numbers, numbers };
        const halves = Uint16Array.from(numbers, floatToHalf);
        return { data: halves, numbers: Float32Array.from(halves, halfToFloat) };
      };
      const [keys, values] = [page(1), page(2)];
      const queries = randomFloats(3, rotatedSize(shape, 1), 1 / 2);
      const sequence = cache.sequence();
      sequence.append(slots - 1);
      const step = cache.prepare(sequence, 1);
      const { queue } = gpu.device;
      sequence.entries.forEach(({ page }, i) => {
        const size = G * P * E;
        const to = page * size * keys.data.BYTES_PER_ELEMENT;
        queue.writeBuffer(cache.layers[0]!.keys, to, keys.data, i * size, size);
        queue.writeBuffer(cache.layers[0]!.values, to, values.data, i * size, size);
      });
      const sizes = partialSizes(shape, partialRowsOf(1));
      const outputs = await gpu.buffer(new Float32Array(sizes.outputs));
      const states = await gpu.buffer(new Float32Array(sizes.states * 2));
      const rotated = await gpu.buffer(queries);
      const x = await gpu.activations(1, H * E);
      const at = (slot: number, head: number) => (Math.floor(slot / P) * G + head) * P + (slot % P);
      return {
        dispatches: gpu.single.attention.attend(
          "attention",
          shape,
          rotated,
          cache.layers[0]!,
          cache.pageTable,
          { outputs, states },
          x,
        ),
        step,
        result: () => gpu.readActivations(x),
        expected: () => {
          const all: number[] = [];
          for (let head = 0; head < H; head++) {
            const score = (slot: number) => {
              let sum = 0;
              const [q, k] = [head * E, at(slot, head) * E];
              for (let i = 0; i < E; i++) sum += queries[q + i]! * keys.numbers[k + i]!;
              return sum;
            };
            const own = new Float32Array(slots * E);
            for (let slot = 0; slot < slots; slot++) {
              const from = at(slot, head) * E;
              own.set(values.numbers.subarray(from, from + E), slot * E);
            }
            all.push(...attend(score, own, slots, E));
          }
          return all;
        },
        release: () => {
          gpu.release(outputs, states, rotated, x);
          releaseCache(gpu, cache);
        },
      };
    },
  };
}

/**
 * The queries of one token, before the window and before the sinks, the same under full attention; its keys and values
 * on their way to a page.
 */
function rotation(): KernelCase {
  const shape = headShape("f16");
  const { heads: H, kvHeads: G, headWidth: E } = shape;
  const position = 1000;
  return {
    kernel: "rope",
    format: "f32",
    shape: `[1, ${H}, ${E}]`,
    bytes: (3 * H + 4 * G) * E * 4,
    async prepare(gpu) {
      const cache = await cacheOf(gpu, shape, position + 1);
      const sequence = cache.sequence();
      sequence.append(position);
      const step = cache.prepare(sequence, 1);
      const numbers = randomFloats(1, (H + 2 * G) * E);
      const qkv = await gpu.activations(1, (H + 2 * G) * E, numbers);
      const { turns, slots, layers } = cache;
      const rotated = await gpu.buffer(new Float32Array(rotatedSize(shape, 1)));
      return {
        dispatches: gpu.single.attention.ropeStore(
          "rope",
          shape,
          qkv,
          qkv,
          turns,
          slots,
          rotated,
          layers[0]!,
        ),
        step,
        result: () => gpu.readFloats(rotated),
        expected: () => {
          const { theta, magnitude } = ropeFrequencies(ROPE, { kind: "none" });
          const angles = theta.map((turn) => turn * position);
          const turned = [
            ...rope(numbers.subarray(0, H * E), angles, shape.pairGap, magnitude * shape.scale),
          ];
          return [...turned, ...turned];
        },
        release: () => {
          gpu.release(qkv, rotated);
          releaseCache(gpu, cache);
        },
      };
    },
  };
}
