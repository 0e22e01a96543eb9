// The kernels that go over rows of activations: RMSNorm, SwiGLU, biases.

import { describe, expect, test } from "vitest";
import { project } from "../../src/kernels/matrix/products.ts";
import type { ActivationFunction } from "../../src/kernels/reference.ts";
import * as reference from "../../src/kernels/reference.ts";
import { gatedActivation, normalize, softcap } from "../../src/kernels/rows/rows.ts";
import { F32 } from "../../src/kernels/weights/formats/f32.ts";
import { randomFloats } from "../../src/laboratory/kernels/random.ts";
import { useGpu } from "../support/gpu.ts";
import { expectClose, HALF_ULP } from "../support/numbers.ts";

const gpu = await useGpu();

// A workgroup has 8 to 32 lanes of four numbers each: widths on both sides of one full workgroup of any adapter.
const WIDTHS = [4, 28, 36, 124, 132, 576];
const EPS = 1e-5;

describe("rms-norm", () => {
  // Squares, their sum and the products: each term rounded at most D + 8 times; inverseSqrt may be off by 2 ulps.
  const rel = (d: number) => (d + 16) * HALF_ULP;

  test.each(WIDTHS)("rows of %d", async (d) => {
    const [x, weight] = [randomFloats(d, 3 * d, 5), randomFloats(d + 1, d, 2)];
    const [from, w, to] = [
      await gpu.activations(3, d, x),
      await gpu.vector(weight),
      await gpu.activations(3, d),
    ];
    await gpu.run(normalize(gpu.one, { x: from, weight: w, y: to, eps: EPS }), { tokens: 3 });
    expectClose(await gpu.readActivations(to), reference.rmsNorm(x, weight, 3, EPS), {
      rel: rel(d),
    });
    gpu.release(from, w, to);
  });

  test.each([
    [4, 16],
    [3, 64],
  ])("%d heads of %d side by side, each by itself, beside padding", async (heads, e) => {
    const [x, weight] = [randomFloats(1, 2 * heads * e), randomFloats(2, e)];
    // Heads of different sizes: a norm over the wrong range shows.
    for (let i = 0; i < x.length; i++) x[i]! *= 10 ** (Math.floor(i / e) % heads);
    const [from, w, to] = [
      await gpu.activations(2, heads * e, x),
      await gpu.vector(weight),
      await gpu.activations(2, heads * e),
    ];
    await gpu.run(normalize(gpu.one, { x: from, weight: w, y: to, eps: EPS }), { tokens: 2 });
    expectClose(await gpu.readActivations(to), reference.rmsNorm(x, weight, 2 * heads, EPS), {
      rel: rel(e),
    });
    gpu.release(from, w, to);
  });

  test("a row whose squares overflow is NaN, not zero, and the others are as they were", async () => {
    const d = 36;
    const x = randomFloats(5, 2 * d).fill(1e20, d, d + 1);
    const weight = new Float32Array(d).fill(1);
    const [from, w, to] = [
      await gpu.activations(2, d, x),
      await gpu.vector(weight),
      await gpu.activations(2, d),
    ];
    await gpu.run(normalize(gpu.one, { x: from, weight: w, y: to, eps: EPS }), { tokens: 2 });
    const found = await gpu.readActivations(to);
    expectClose(found.subarray(0, d), reference.rmsNorm(x.subarray(0, d), weight, 1, EPS), {
      rel: rel(d),
    });
    expect(found.subarray(d).every(Number.isNaN)).toBe(true);
    gpu.release(from, w, to);
  });

  test("added to what is there", async () => {
    const d = 36;
    const [x, weight, before] = [
      randomFloats(7, 2 * d),
      randomFloats(8, d, 2),
      randomFloats(9, 2 * d, 3),
    ];
    const [from, w, to] = [
      await gpu.activations(2, d, x),
      await gpu.vector(weight),
      await gpu.activations(2, d, before),
    ];
    const norm = { x: from, weight: w, y: to, eps: EPS, add: true };
    await gpu.run(normalize(gpu.one, norm), { tokens: 2 });
    const normed = reference.rmsNorm(x, weight, 2, EPS);
    expectClose(
      await gpu.readActivations(to),
      normed.map((value, i) => value + before[i]!),
      { abs: 8 * rel(d) },
    );
    gpu.release(from, w, to);
  });

  test("zeros stay zeros, and epsilon counts where numbers are tiny", async () => {
    const d = 36;
    const x = new Float32Array(2 * d);
    x.fill(1e-3, d); // mean square 1e-6, a tenth of epsilon
    const weight = new Float32Array(d).fill(1);
    const [from, w, to] = [
      await gpu.activations(2, d, x),
      await gpu.vector(weight),
      await gpu.activations(2, d),
    ];
    await gpu.run(normalize(gpu.one, { x: from, weight: w, y: to, eps: EPS }), { tokens: 2 });
    expectClose(await gpu.readActivations(to), reference.rmsNorm(x, weight, 2, EPS), {
      rel: rel(d),
    });
    gpu.release(from, w, to);
  });
});

describe("a gated activation", () => {
  /** hidden [T, F] of gate and up, [T, F] each. */
  async function gated(
    tokens: number,
    gate: Float32Array,
    up: Float32Array,
    activation: ActivationFunction = "silu",
  ) {
    const f = gate.length / tokens;
    const rows = Array.from({ length: tokens }, (_, t) => [
      ...gate.subarray(t * f, (t + 1) * f),
      ...up.subarray(t * f, (t + 1) * f),
    ]);
    const both = await gpu.activations(tokens, 2 * f, rows.flat());
    const hidden = await gpu.activations(tokens, f);
    await gpu.run(gatedActivation(gpu.one, { label: "gate", gateUp: both, hidden, activation }), {
      tokens,
    });
    const result = await gpu.readActivations(hidden);
    gpu.release(both, hidden);
    return result;
  }

  test.each([4, 28, 36, 132])("rows of %d", async (f) => {
    const [gate, up] = [randomFloats(f, 3 * f, 20), randomFloats(f + 1, 3 * f)];
    // exp is off by 3 + 2|x| ulps (WGSL), |x| up to 20; a division by 2.5; and a few roundings.
    expectClose(await gated(3, gate, up), reference.gatedActivation(gate, up, "silu"), {
      rel: 2 * (43 + 4) * HALF_ULP,
    });
  });

  test("by gelu, for gates of any size", async () => {
    const gate = randomFloats(3, 60, 12);
    gate.set([-1e30, -1e4, -10.5, -10, 10, 10.5, 1e4, 1e30, -0]);
    const up = randomFloats(4, 60);
    // exp is off by 3 + 2|x| ulps (WGSL), but where |x| is large, so little is left that abs is enough.
    expectClose(await gated(1, gate, up, "gelu"), reference.gatedActivation(gate, up, "gelu"), {
      abs: 1e-6,
      rel: 1e-6,
    });
    const lost = Float32Array.of(Number.NaN, 1, 2, 3);
    const found = await gated(1, lost, up.slice(0, 4), "gelu");
    expect([...found].map(Number.isNaN)).toEqual([true, false, false, false]);
  });

  test("is finite for gates of any size", async () => {
    const gate = Float32Array.from([-1e30, -1e4, -200, -100, -88, -80, 0, 88, 100, 1e4, 1e30, -0]);
    const up = new Float32Array(gate.length).fill(2);
    const found = await gated(1, gate, up);
    // Below -80 the kernel stops following the exponential: 1e30 exp(-80) is 2e-5, and gates of a model are far smaller.
    expectClose(found, reference.gatedActivation(gate, up, "silu"), { abs: 1e-4, rel: 1e-6 });
    expectClose(found.subarray(1), reference.gatedActivation(gate, up, "silu").subarray(1), {
      abs: 1e-30,
      rel: 1e-6,
    });
  });
});

describe("a cap", () => {
  test.each([4, 33, 259])("of %d numbers", async (n) => {
    const numbers = randomFloats(n, 3 * n, 40);
    numbers.set([0, -1e30, 1e30, 1e-3]);
    const y = await gpu.activations(3, n, numbers);
    await gpu.run(softcap(gpu.several, { label: "cap", y, cap: 6 }), { tokens: 3 });
    expectClose(
      await gpu.readActivations(y),
      Float64Array.from(numbers, (z) => reference.softcap(z, 6)),
      { abs: 6 * 16 * HALF_ULP },
    );
    gpu.release(y);
  });
});

describe("biases", () => {
  // The last two: an output bias is as long as the vocabulary, which need not be a multiple of four.
  test.each([4, 28, 36, 132, 33, 259])("of %d numbers are added to every token", async (n) => {
    const k = 32;
    const [y, bias] = [randomFloats(n, 3 * n), randomFloats(n + 1, n)];
    const zeros = new Float32Array(n * k);
    const x = await gpu.activations(3, k, randomFloats(1, 3 * k));
    const weights = await gpu.weights(F32, n, k, new Uint8Array(zeros.buffer));
    const [to, b] = [await gpu.activations(3, n, y), await gpu.vector(bias)];
    await gpu.run(project(gpu.several, { x, weights, y: to, add: true, bias: b }), { tokens: 3 });
    const expected = y.map((value, i) => Math.fround(value + bias[i % n]!)); // one sum, rounded once
    expect(await gpu.readActivations(to)).toEqual(expected);
    gpu.release(x, weights, to, b);
  });
});
