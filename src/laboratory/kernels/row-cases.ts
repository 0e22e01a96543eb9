// Kernels that work on rows of activations.

import { chooseTokens, listTop, packDraws } from "../../kernels/choice/choice.ts";
import { project } from "../../kernels/matrix/products.ts";
import * as reference from "../../kernels/reference.ts";
import { addRows, gatedActivation, normalize, softcap } from "../../kernels/rows/rows.ts";
import { F32 } from "../../kernels/weights/formats/f32.ts";
import type { KernelCase, Sizes } from "./kernel-case.ts";
import { randomFloats } from "./random.ts";

const EPS = 1e-5;
const CAP = 30; // of the logits of Gemma 2

/** y [T, k] = RMSNorm(x) weight. */
export function normCase({ k, tokens }: Sizes): KernelCase {
  return {
    kernel: "rms-norm",
    format: "F32",
    shape: `[${tokens}, ${k}]`,
    bytes: (2 * tokens + 1) * k * 4,
    async prepare(bench) {
      const [numbers, factors] = [randomFloats(1, tokens * k), randomFloats(2, k)];
      const x = await bench.activations(tokens, k, numbers);
      const y = await bench.activations(tokens, k);
      const weight = await bench.vector(factors);
      return {
        variants: [normalize(bench.several, { x, weight, y, eps: EPS })],
        step: { tokens },
        result: () => bench.readActivations(y),
        expected: () => reference.rmsNorm(numbers, factors, tokens, EPS),
        release: () => bench.release(x, y, weight),
      };
    },
  };
}

/** y [T, k] = LayerNorm(x) weight + bias. */
export function layerNormCase({ k, tokens }: Sizes): KernelCase {
  return {
    kernel: "layer-norm",
    format: "F32",
    shape: `[${tokens}, ${k}]`,
    bytes: (2 * tokens + 2) * k * 4,
    async prepare(bench) {
      const [numbers, factors] = [randomFloats(1, tokens * k), randomFloats(2, 2 * k)];
      const x = await bench.activations(tokens, k, numbers);
      const y = await bench.activations(tokens, k);
      const weight = await bench.vector(factors);
      const [weights, biases] = [factors.subarray(0, k), factors.subarray(k)];
      return {
        variants: [normalize(bench.several, { x, weight, y, eps: EPS, kind: "layer" })],
        step: { tokens },
        result: () => bench.readActivations(y),
        expected: () => reference.layerNorm(numbers, weights, biases, tokens, EPS),
        release: () => bench.release(x, y, weight),
      };
    },
  };
}

/** y [T, n] += x / 2. */
export function sumCase({ n, tokens }: Sizes): KernelCase {
  return {
    kernel: "add-rows",
    format: "F32",
    shape: `[${tokens}, ${n}]`,
    bytes: 3 * tokens * n * 4,
    async prepare(bench) {
      const [added, numbers] = [randomFloats(1, tokens * n), randomFloats(2, tokens * n)];
      const x = await bench.activations(tokens, n, added);
      const y = await bench.activations(tokens, n, numbers);
      return {
        variants: [addRows(bench.several, { label: "sum", x, y, factor: 0.5 })],
        step: { tokens },
        result: () => bench.readActivations(y),
        expected: () => Float64Array.from(numbers, (value, i) => value + added[i]! / 2),
        inPlace: true,
        release: () => bench.release(x, y),
      };
    },
  };
}

/** hidden [T, n] = silu(gate) up. */
export function gateCase({ n, tokens }: Sizes): KernelCase {
  return {
    kernel: "swiglu",
    format: "F32",
    shape: `[${tokens}, ${n}]`,
    bytes: 3 * tokens * n * 4,
    async prepare(bench) {
      const [gates, ups] = [randomFloats(1, tokens * n, 4), randomFloats(2, tokens * n)];
      const rows = new Float32Array(2 * tokens * n);
      for (let t = 0; t < tokens; t++) {
        rows.set(gates.subarray(t * n, (t + 1) * n), 2 * t * n);
        rows.set(ups.subarray(t * n, (t + 1) * n), (2 * t + 1) * n);
      }
      const both = await bench.activations(tokens, 2 * n, rows);
      const hidden = await bench.activations(tokens, n);
      return {
        variants: [
          gatedActivation(bench.several, {
            label: "swiglu",
            gateUp: both,
            hidden,
            activation: "silu",
          }),
        ],
        step: { tokens },
        result: () => bench.readActivations(hidden),
        expected: () => reference.gatedActivation(gates, ups, "silu"),
        release: () => bench.release(both, hidden),
      };
    },
  };
}

/**
 * y [T, n] += bias [n]. A plan adds a bias only after a product: a small product is prepared with
 * it, and left out.
 */
export function biasCase({ n, tokens }: Sizes): KernelCase {
  const k = 32;
  return {
    kernel: "add-bias",
    format: "F32",
    shape: `[${tokens}, ${n}]`,
    bytes: (2 * tokens + 1) * n * 4,
    async prepare(bench) {
      const [numbers, added] = [randomFloats(1, tokens * n), randomFloats(2, n)];
      const x = await bench.activations(tokens, k);
      const y = await bench.activations(tokens, n, numbers);
      const weights = await bench.weights(F32, n, k, new Uint8Array(n * k * 4));
      const vector = await bench.vector(added);
      const dispatches = project(bench.several, { x, weights, y, bias: vector });
      return {
        variants: [dispatches.filter(({ kernel }) => kernel.name === "add-bias")],
        step: { tokens },
        result: () => bench.readActivations(y),
        expected: () => Float64Array.from(numbers, (value, i) => value + added[i % n]!),
        inPlace: true,
        release: () => bench.release(x, y, weights, vector),
      };
    },
  };
}

/** y [T, n] = cap tanh(y / cap). */
export function capCase({ n, tokens }: Sizes): KernelCase {
  return {
    kernel: "cap",
    format: "F32",
    shape: `[${tokens}, ${n}]`,
    bytes: 2 * tokens * n * 4,
    async prepare(bench) {
      const numbers = randomFloats(1, tokens * n, 3 * CAP);
      const y = await bench.activations(tokens, n, numbers);
      return {
        variants: [softcap(bench.several, { label: "cap", y, cap: CAP })],
        step: { tokens },
        result: () => bench.readActivations(y),
        expected: () => Float64Array.from(numbers, (value) => reference.softcap(value, CAP)),
        inPlace: true,
        release: () => bench.release(y),
      };
    },
  };
}

/** The likeliest of n logits, and its log-probability. */
export function chooseCase({ n }: Pick<Sizes, "n">): KernelCase {
  return {
    kernel: "choose",
    format: "F32",
    shape: `[${n}]`,
    bytes: n * 4,
    async prepare(bench) {
      const numbers = randomFloats(1, n, 8);
      const logits = await bench.activations(1, n, numbers);
      const draws = await bench.buffer(
        packDraws([{ row: 0, temperature: 0, seed: 0, position: 0 }]),
      );
      const choices = await bench.buffer(new Uint32Array(2));
      const most = numbers.reduce((a, b) => Math.max(a, b));
      const likeliest = numbers.indexOf(most);
      return {
        variants: [chooseTokens(bench.one, { logits, draws, choices })],
        step: { tokens: 1 },
        async result() {
          const chosen = await bench.device.read(choices);
          const isRight = new Uint32Array(chosen)[0] === likeliest;
          // The log-probability of another id is no number to compare.
          return Float32Array.of(isRight ? new Float32Array(chosen)[1]! : Number.NaN);
        },
        expected: () => [most - logSum(numbers)],
        release: () => bench.release(logits, draws, choices),
      };
    },
  };
}

/**
 * The likeliest logits of n, as a sampler on the host gets them, and the logarithm of the sum of
 * all exponentials.
 */
export function topCase({ n }: Pick<Sizes, "n">): KernelCase {
  const keep = Math.min(n, 40); // what `generate` keeps by default
  return {
    kernel: "top",
    format: "F32",
    shape: `${keep} of [${n}]`,
    bytes: n * 4 + (4 + 2 * keep) * 4,
    async prepare(bench) {
      const numbers = randomFloats(1, n, 8);
      const logits = await bench.activations(1, n, numbers);
      const wanted = await bench.buffer(Uint32Array.of(0, keep));
      const list = await bench.buffer(new Uint32Array(TOP_WORDS));
      return {
        variants: [listTop(bench.one, { logits, wanted, top: list })],
        step: { tokens: 1 },
        async result() {
          const bytes = await bench.device.read(list);
          const [words, floats] = [new Uint32Array(bytes), new Float32Array(bytes)];
          const found = Array.from({ length: Math.max(keep, words[0]!) }, (_, i) => {
            const logit = floats[5 + 2 * i]!;
            return numbers[words[4 + 2 * i]!] === logit ? logit : Number.NaN;
          });
          return Float32Array.of(floats[1]!, ...found.sort((a, b) => b - a).slice(0, keep));
        },
        expected: () => [logSum(numbers), ...numbers.toSorted((a, b) => b - a).subarray(0, keep)],
        release: () => bench.release(logits, wanted, list),
      };
    },
  };
}

/**
 * Count, sum, validity and nothing, then (id, logit) of as many as there is room for: ROOM in
 * top.wgsl.
 */
const TOP_WORDS = 4 + 2 * 1024;

/** ln(sum of exp) */
function logSum(numbers: Float32Array): number {
  const most = numbers.reduce((a, b) => Math.max(a, b));
  return most + Math.log(numbers.reduce((sum, x) => sum + Math.exp(x - most), 0));
}
