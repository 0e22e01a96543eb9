// Several tensors as one matrix, and a gated feed-forward at once: the same as one by one, in f64.

import { describe, expect, test } from "vitest";
import { gate, project } from "../../src/kernels/matrix/products.ts";
import * as reference from "../../src/kernels/reference.ts";
import type { WeightFormat } from "../../src/kernels/weights/formats/format.ts";
import { rowBytes } from "../../src/kernels/weights/formats/format.ts";
import { FORMATS } from "../../src/kernels/weights/formats/index.ts";
import { stackBytes } from "../../src/kernels/weights/layout.ts";
import { createStack, type Weights } from "../../src/kernels/weights/tensor.ts";
import { Uploader } from "../../src/kernels/weights/upload.ts";
import { decode, randomFloats, randomTensor } from "../../src/laboratory/kernels/random.ts";
import { useGpu } from "../support/gpu.ts";
import { expectClose, HALF_ULP } from "../support/numbers.ts";

/** Adapters that get different shaders and workgroups. */
const ADAPTERS = [
  ["a software adapter", await useGpu()],
  ["one without subgroups", await useGpu({ refuse: ["subgroups"] })],
  ["a graphics card", await useGpu({ card: true })],
] as const;
const K = 256;

describe.each(ADAPTERS)("on %s", (_, gpu) => {
  /** A stack of random tensors, uploaded one by one in an order of its own; and its numbers, [n, K]. */
  async function stackOf(tensors: readonly (readonly [string, number])[]) {
    const given = tensors.map(([name, n], i) => {
      const format: WeightFormat = FORMATS.get(name)!;
      const file = randomTensor(format, n, K, i + 1);
      return { format, n, file, first: tensors.slice(0, i).reduce((sum, [, n]) => sum + n, 0) };
    });
    const weights = await createStack(gpu.device, {
      label: "stack",
      tensors: given,
      k: K,
      placement: gpu.adapter.placement,
    });
    expect(weights.bytes).toBe(stackBytes(given, K).reduce((sum, { bytes }) => sum + bytes, 0));
    const uploader = new Uploader(gpu.device);
    for (const { n, file, first, format } of given.toReversed()) {
      expect(file.length).toBe(n * rowBytes(format, K));
      await uploader.upload(weights, first, n, async (at, into) => {
        into.set(file.subarray(at, at + into.length));
      });
    }
    await uploader.finish();
    const numbers = given.flatMap(({ format, file }) => [...decode(format, file)]);
    return { weights, numbers: Float64Array.from(numbers) };
  }

  /** Products and their sums in f32: as many roundings of the sum of magnitudes as there are terms, at most. */
  function bound(numbers: Float64Array, x: Float32Array | Float64Array): number {
    let most = 0;
    for (let row = 0; row < numbers.length; row += K) {
      for (let token = 0; token < x.length; token += K) {
        let sum = 0;
        for (let i = 0; i < K; i++) sum += Math.abs(numbers[row + i]! * x[token + i]!);
        most = Math.max(most, sum);
      }
    }
    return most * K * HALF_ULP;
  }

  const release = (weights: Weights) => gpu.release(weights);

  // One part where formats agree and rows are whole eights; a part of its own for whatever follows else.
  test.each([
    [
      [
        ["Q4_K", 24],
        ["Q4_K", 8],
        ["Q4_K", 10],
      ],
      1,
    ],
    [
      [
        ["Q4_K", 24],
        ["Q4_K", 10],
        ["Q4_K", 16],
      ],
      2,
    ],
    [
      [
        ["Q4_K", 24],
        ["Q4_K", 16],
        ["Q6_K", 16],
      ],
      2,
    ],
    [
      [
        ["Q8_0", 6],
        ["F16", 5],
        ["F16", 16],
      ],
      3,
    ],
    [
      [
        ["Q6_K", 40],
        ["Q6_K", 8],
      ],
      1,
    ],
  ] as const)("%j is a matrix in %d parts", async (tensors, parts) => {
    const { weights, numbers } = await stackOf(tensors);
    expect(weights.parts.length).toBe(parts);
    for (const tokens of [1, 3]) {
      const values = randomFloats(9, tokens * K);
      const x = await gpu.activations(tokens, K, values);
      const y = await gpu.activations(tokens, weights.n);
      const target = tokens === 1 ? gpu.one : gpu.several;
      await gpu.run(project(target, { x, weights, y }), { tokens });
      const expected = reference.project(values, numbers, tokens, weights.n, K);
      expectClose(await gpu.readActivations(y), expected, { abs: bound(numbers, values) });
      gpu.release(x, y);
    }
    release(weights);
  });

  describe.each([
    [
      "at once",
      [
        ["Q4_K", 40],
        ["Q4_K", 40],
      ],
    ],
    [
      "in rows that fill no workgroup",
      [
        ["Q6_K", 24],
        ["Q6_K", 24],
      ],
    ],
    [
      "of two formats",
      [
        ["Q4_K", 40],
        ["Q6_K", 40],
      ],
    ],
  ] as const)("a gated feed-forward %s", (_name, tensors) => {
    test.each([
      [1, false],
      [1, true],
      [3, true],
    ])("of %d tokens, normed: %s", async (tokens, normed) => {
      const { weights, numbers } = await stackOf(tensors);
      const F = weights.n / 2;
      const values = randomFloats(9, tokens * K);
      const factors = randomFloats(10, K).map((x) => 1 + x / 2);
      const eps = 1e-5;
      const x = await gpu.activations(tokens, K, values);
      const into = await gpu.activations(tokens, K);
      const both = await gpu.activations(tokens, 2 * F);
      const hidden = await gpu.activations(tokens, F);
      const weight = await gpu.vector(factors);
      const norm = normed ? { weight, eps, into } : undefined;
      const target = tokens === 1 ? gpu.one : gpu.several;
      await gpu.run(
        gate(target, { label: "gate", x, weights, gateUp: both, hidden, activation: "silu", norm }),
        {
          tokens,
        },
      );

      const input = normed
        ? reference.rmsNorm(values, factors, tokens, eps)
        : Float64Array.from(values);
      const gates = reference.project(input, numbers.subarray(0, F * K), tokens, F, K);
      const ups = reference.project(input, numbers.subarray(F * K), tokens, F, K);
      // Both factors are off by what a product of K terms is; silu is no steeper than 1.1.
      const abs =
        bound(numbers, input) * 2.2 * Math.max(1, ...gates.map(Math.abs), ...ups.map(Math.abs));
      expectClose(
        await gpu.readActivations(hidden),
        reference.gatedActivation(gates, ups, "silu"),
        { abs },
      );
      gpu.release(x, into, both, hidden, weight);
      release(weights);
    });
  });

  test("a norm on the way is the norm before", async () => {
    const { weights, numbers } = await stackOf([["Q5_K", 33]]);
    const [values, factors] = [randomFloats(3, K, 5), randomFloats(4, K)];
    const [x, y] = [await gpu.activations(1, K, values), await gpu.activations(1, 33)];
    const norm = { weight: await gpu.vector(factors), eps: 1e-6, into: x };
    await gpu.run(project(gpu.one, { x, weights, y, norm }), { tokens: 1 });
    const input = reference.rmsNorm(values, factors, 1, 1e-6);
    const expected = reference.project(input, numbers, 1, 33, K);
    expectClose(await gpu.readActivations(y), expected, { abs: 2 * bound(numbers, input) });
    gpu.release(x, y, norm.weight);
    release(weights);
  });
});
