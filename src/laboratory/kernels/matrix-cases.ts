// Kernels that read a matrix of weights.

import type { Activations } from "../../kernels/gpu/activations.ts";
import { gate, project } from "../../kernels/matrix/products.ts";
import * as reference from "../../kernels/reference.ts";
import { embed } from "../../kernels/rows/rows.ts";
import { rowBytes, type WeightFormat } from "../../kernels/weights/formats/format.ts";
import type { Weights } from "../../kernels/weights/tensor.ts";
import type { KernelCase, Sizes } from "./kernel-case.ts";
import { decode, randomFloats, randomTensor, uniform } from "./random.ts";
import type { Workbench } from "./workbench.ts";

const EPS = 1e-5;

/**
 * Copies of a matrix that is read once for a token come to this many bytes: more than the caches of
 * adapters.
 */
const ROTATED_BYTES = 128 * 2 ** 20;
const MAX_COPIES = 64;

/** More copies of a matrix than any cache holds, the first of them uploaded. */
async function rotated(
  bench: Workbench,
  format: WeightFormat,
  n: number,
  k: number,
  file: Uint8Array,
): Promise<Weights[]> {
  const copies = [await bench.weights(format, n, k, file)];
  const wanted = Math.min(MAX_COPIES, Math.ceil(ROTATED_BYTES / copies[0]!.bytes));
  while (copies.length < wanted) copies.push(await bench.copyOf(copies[0]!));
  return copies;
}

/** y [n] = W x, W [n, k], with a fused norm of x if `normed` is set. */
export function matvecCase(format: WeightFormat, { n, k }: Sizes, normed: boolean): KernelCase {
  return {
    kernel: normed ? "matvec-normed" : "matvec",
    format: format.name,
    shape: `[${n}, ${k}]`,
    bytes: n * rowBytes(format, k) + (k + n + (normed ? k : 0)) * 4,
    multiplies: n * k,
    async prepare(bench) {
      const file = randomTensor(format, n, k, 1);
      const [numbers, factors] = [randomFloats(2, k), randomFloats(3, k, 2)];
      const copies = await rotated(bench, format, n, k, file);
      const x = await bench.activations(1, k, numbers);
      const y = await bench.activations(1, n);
      const weight = await bench.vector(factors);
      const norm = normed ? { weight, eps: EPS, into: x } : undefined;
      return {
        variants: copies.map((weights) => project(bench.one, { x, weights, y, norm })),
        step: { tokens: 1 },
        result: () => bench.readActivations(y),
        expected: () => {
          const input = normed ? reference.rmsNorm(numbers, factors, 1, EPS) : numbers;
          return reference.project(input, decode(format, file), 1, n, k);
        },
        release: () => bench.release(...copies, x, y, weight),
      };
    },
  };
}

/** h [n] = silu(G x) (U x), G above U in one matrix [2 n, k]. */
export function matvecSwigluCase(format: WeightFormat, { n, k }: Sizes): KernelCase {
  return {
    kernel: "matvec-swiglu",
    format: format.name,
    shape: `[2 × ${n}, ${k}]`,
    bytes: 2 * n * rowBytes(format, k) + (k + n) * 4,
    multiplies: 2 * n * k,
    async prepare(bench) {
      const file = randomTensor(format, 2 * n, k, 1);
      const numbers = randomFloats(2, k);
      const copies = await rotated(bench, format, 2 * n, k, file);
      const x = await bench.activations(1, k, numbers);
      const both = await bench.activations(1, 2 * n);
      const hidden = await bench.activations(1, n);
      return {
        variants: copies.map((weights) =>
          gate(bench.one, {
            label: "matvec-swiglu",
            x,
            weights,
            gateUp: both,
            hidden,
            activation: "silu",
          }),
        ),
        step: { tokens: 1 },
        result: () => bench.readActivations(hidden),
        expected: () => {
          const products = reference.project(numbers, decode(format, file), 1, 2 * n, k);
          return reference.gatedActivation(products.subarray(0, n), products.subarray(n), "silu");
        },
        release: () => bench.release(...copies, x, both, hidden),
      };
    },
  };
}

/** y [T, n] = x [T, k] W^T. */
export function matmulCase(format: WeightFormat, { n, k, tokens }: Sizes): KernelCase {
  return {
    kernel: "matmul",
    format: format.name,
    shape: `[${n}, ${k}] × ${tokens}`,
    bytes: n * rowBytes(format, k) + tokens * (k + n) * 4,
    multiplies: tokens * n * k,
    async prepare(bench) {
      const file = randomTensor(format, n, k, 1);
      const numbers = randomFloats(2, tokens * k);
      const weights = await bench.weights(format, n, k, file);
      const x = await bench.activations(tokens, k, numbers);
      const y = await bench.activations(tokens, n);
      return {
        variants: [project(bench.several, { x, weights, y })],
        step: { tokens },
        result: () => bench.readActivations(y),
        expected: () => reference.project(numbers, decode(format, file), tokens, n, k),
        release: () => bench.release(weights, x, y),
      };
    },
  };
}

/** x [T, k]: rows of a table [n, k], scaled as the embeddings of Gemma are. */
export function embedCase(format: WeightFormat, { n, k, tokens }: Sizes): KernelCase {
  return {
    kernel: "embed",
    format: format.name,
    shape: `${tokens} of [${n}, ${k}]`,
    bytes: tokens * (rowBytes(format, k) + k * 4 + 4),
    async prepare(bench) {
      const file = randomTensor(format, n, k, 1);
      const next = uniform(2);
      const ids = Uint32Array.from({ length: tokens }, () => Math.floor(next() * n));
      const table = await bench.weights(format, n, k, file);
      const from = await bench.buffer(ids);
      const choices = await bench.buffer(new Uint32Array(2));
      const x: Activations = await bench.activations(tokens, k);
      const scale = Math.sqrt(k);
      return {
        variants: [embed(bench.several, { tokens: from, choices, table, x, scale })],
        step: { tokens },
        result: () => bench.readActivations(x),
        expected: () => {
          const rows = new Float32Array(tokens * k);
          const size = rowBytes(format, k);
          ids.forEach((id, t) => {
            rows.set(decode(format, file.subarray(id * size, (id + 1) * size)), t * k);
          });
          return rows.map((value) => scale * value);
        },
        release: () => bench.release(table, from, choices, x),
      };
    },
  };
}
