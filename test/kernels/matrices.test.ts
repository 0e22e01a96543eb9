// The product by subgroup matrices. Few drivers have them: what uses them is run here by matrices that each lane imitates, and
// by those of the adapter where it has some, as Mesa's llvmpipe from 26 on.

import { describe, expect, test } from "vitest";
import { offeredMatrixShape } from "../../src/kernels/adapter/adapter.ts";
import { matmulTiling } from "../../src/kernels/adapter/tiling.ts";
import type { Device } from "../../src/kernels/gpu/device.ts";
import { SUBGROUP_MATRIX } from "../../src/kernels/gpu/device.ts";
import { assemble } from "../../src/kernels/gpu/kernel.ts";
import { project } from "../../src/kernels/matrix/products.ts";
import { tryMatrices, tuningOf } from "../../src/kernels/matrix/tuning.ts";
import * as reference from "../../src/kernels/reference.ts";
import { decoderOf, type WeightFormat } from "../../src/kernels/weights/formats/format.ts";
import { FORMATS } from "../../src/kernels/weights/formats/index.ts";
import { decode, randomFloats, randomTensor } from "../../src/laboratory/kernels/random.ts";
import { openDevice, shaderSource, type TestGpu, useGpu } from "../support/gpu.ts";
import { imitated, ownShape, SHAPES } from "../support/matrices.ts";
import { expectClose } from "../support/numbers.ts";

// Read when the driver is loaded. The imitated matrices make large shaders, which run once or twice: llvmpipe compiles them
// as they stand, in half the time that it takes to optimise them.
process.env.GALLIVM_PERF = "nopt";

/** The absolute error that halves allow in x W^T, element by element. */
function bound(x: Float32Array, weights: Float32Array, tokens: number, n: number, k: number) {
  const most = reference.project(x.map(Math.abs), weights.map(Math.abs), tokens, n, k);
  const ones = new Float32Array(k).fill(1);
  const [sumX, sumW] = [
    reference.project(x.map(Math.abs), ones, tokens, 1, k),
    reference.project(ones, weights.map(Math.abs), 1, n, k),
  ];
  // Either factor is off by half an ulp of 22 bits; or, where its high half would be subnormal and may be taken for zero, by
  // half an ulp of eleven bits below 2^-14, times four for x (SHRINK). The product of the low
  // halves, 2^-22, is left out; and 3 k terms are summed in f32.
  const relative = 3 * 2 ** -22 + 3 * k * 2 ** -24;
  return most.map(
    (sum, i) => sum * relative + 2 ** -26 * (4 * sumW[i % n]! + sumX[Math.floor(i / n)]!),
  );
}

async function check(gpu: TestGpu, format: WeightFormat, n: number, k: number, tokens: number) {
  expect(matmulTiling(gpu.adapter).shader).toBe("matrix/matmul-matrices");
  const file = randomTensor(format, n, k, 1);
  const numbers = randomFloats(2, tokens * k);
  const before = randomFloats(3, tokens * n);
  const weights = await gpu.weights(format, n, k, file);
  const x = await gpu.activations(tokens, k, numbers);
  const y = await gpu.activations(tokens, n, before);
  await gpu.run(project(gpu.several, { x, weights, y }), { tokens });
  const plain = await gpu.readActivations(y);
  await gpu.run(project(gpu.several, { x, weights, y, add: true }), { tokens });
  const twice = await gpu.readActivations(y);
  const decoded = decode(format, file);
  const expected = reference.project(numbers, decoded, tokens, n, k);
  const abs = bound(numbers, decoded, tokens, n, k);
  expectClose(plain, expected, { abs });
  expectClose(
    twice,
    plain.map((value) => 2 * value),
    {},
  );
  gpu.release(weights, x, y);
}

test("every shape compiles with every format", async () => {
  await using device = await openDevice({ null: true });
  expect(device.features.has(SUBGROUP_MATRIX)).toBe(true);
  for (const format of FORMATS.values()) {
    for (const { M, N, K } of SHAPES) {
      const shaders = ["matrix/matmul-matrices", ...decoderOf(format), "matrix/matrices/matrices"];
      const files = [...shaders, `matrix/matrices/${M}x${N}x${K}`];
      const code = assemble(files.map(shaderSource)).join("\n");
      const { messages } = await device.handle.createShaderModule({ code }).getCompilationInfo();
      expect(messages.map(({ message }) => message)).toEqual([]);
    }
  }
});

describe.each(SHAPES)("imitated, $M x $N x $K", (shape) => {
  test("multiplies what fills tiles and what does not, and adds", async () => {
    const gpu = await useGpu({ matrices: shape }, imitated);
    expect(offeredMatrixShape(gpu.device)).toBe(`${shape.M}x${shape.N}x${shape.K}`);
    await check(gpu, FORMATS.get("Q4_K")!, 67, 256, 70);
  });
});

describe("numbers of any size", () => {
  /** x w, of single numbers, by matrices: each in a row of zeros. */
  async function products(pairs: readonly (readonly [x: number, w: number])[]) {
    const gpu = await useGpu({ matrices: { M: 8, N: 8, K: 8 } }, imitated);
    const k = 32;
    const spread = (numbers: readonly number[]) =>
      Float32Array.from({ length: k }, (_, i) => numbers[i] ?? 0);
    const found = [];
    for (const [x, w] of pairs) {
      const weights = await gpu.weights(
        FORMATS.get("F32")!,
        2,
        k,
        new Uint8Array(new Float32Array([...spread([w]), ...spread([0, 1])]).buffer),
      );
      const input = await gpu.activations(2, k, [...spread([x]), ...spread([0, 5])]);
      const y = await gpu.activations(2, 2);
      await gpu.run(project(gpu.several, { x: input, weights, y }), { tokens: 2 });
      const [product, beside, below, other] = await gpu.readActivations(y);
      // What is no number, or infinite, times zero is no number: only what shares no factor with it is unmoved.
      if (Number.isFinite(x) && Number.isFinite(w)) expect([beside, below]).toEqual([0, 0]);
      expect(other).toBe(5);
      found.push(product!);
    }
    return found;
  }

  test("activations beyond the largest half arrive", async () => {
    expect(
      await products([
        [250001, 1],
        [-250001, 1],
      ]),
    ).toEqual([250001, -250001]);
  });

  test("what is beyond all bounds stays a number", async () => {
    const [x, w] = await products([
      [1e9, 1],
      [1, -1e9],
    ]);
    expect([x, w]).toEqual([4 * 65504, -65504]);
  });

  test("what is no number, or infinite, stays none", async () => {
    for (const broken of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const found = await products([
        [broken, 1],
        [1, broken],
      ]);
      expect(found.map(Number.isFinite), String(broken)).toEqual([false, false]);
    }
  });

  test("small numbers keep their 22 bits, and the smallest half of them", async () => {
    const pairs = [
      [0.0123456, 0.00456789],
      [3.21e-4, 6.54e-5],
      [1.23e-4, 0.00456789],
    ] as const;
    const found = await products(pairs);
    const off = pairs.map(([x, w], i) => found[i]! / (Math.fround(x) * Math.fround(w)) - 1);
    // Two factors of 22 bits, one product left out, one rounding; then one of 11 bits, which an adapter may cut off.
    const bounds = [3 * 2 ** -22 + 2 ** -23, 3 * 2 ** -22 + 2 ** -23, 2 ** -10];
    for (const [i, bound] of bounds.entries()) expect(Math.abs(off[i]!)).toBeLessThan(bound);
  });
});

test("matrices are for cards whose subgroups have one size, which offer halves summed in f32", async () => {
  const shape = { M: 16, N: 16, K: 16 };
  await using card = await openDevice({ matrices: shape });
  expect(offeredMatrixShape(card)).toBe("16x16x16");
  const as = (name: string, value: unknown) => Object.create(card, { [name]: { value } });
  const info = (changes: object) =>
    as("info", { subgroupMinSize: 8, subgroupMaxSize: 8, isFallbackAdapter: false, ...changes });
  expect(offeredMatrixShape(info({}))).toBe("16x16x16");
  expect(offeredMatrixShape(info({ isFallbackAdapter: true }))).toBeUndefined();
  expect(offeredMatrixShape(info({ subgroupMaxSize: 32 }))).toBeUndefined();
  expect(offeredMatrixShape(as("features", new Set(["subgroups"])))).toBeUndefined();
  const types = { componentType: "f16", resultComponentType: "f32" };
  const offers = (...configs: object[]) => offeredMatrixShape(as("matrixConfigs", configs));
  expect(offers({ ...types, M: 4, N: 4, K: 4 })).toBeUndefined();
  expect(offers({ ...types, ...shape, resultComponentType: "f16" })).toBeUndefined();
  expect(offers({ ...types, ...shape, componentType: "f32" })).toBeUndefined();
  expect(offeredMatrixShape(as("languageFeatures", new Set()))).toBeUndefined();
  const limits = (changes: object) => as("limits", { ...card.limits, ...changes });
  // Two tiles of 64 rows of 40 halves, twice, and two matrices of f32 for each of four subgroups.
  const bytes = 2 * 2 * 64 * 40 * 2 + 4 * 2 * 256 * 4;
  expect(offeredMatrixShape(limits({ maxComputeWorkgroupStorageSize: bytes }))).toBe("16x16x16");
  expect(offeredMatrixShape(limits({ maxComputeWorkgroupStorageSize: bytes - 1 }))).toBeUndefined();
  expect(offeredMatrixShape(limits({ maxComputeInvocationsPerWorkgroup: 31 }))).toBeUndefined();
  expect(offers({ ...types, M: 16, N: 8, K: 8 }, { ...types, M: 16, N: 8, K: 16 })).toBe("16x8x16");
});

describe("matrices that an adapter is not known for", () => {
  const changed = (shader: string, from: string, to: string) => (name: string) => {
    const text = imitated(name);
    if (name !== shader) return text;
    expect(text).toContain(from);
    return text.replace(from, to);
  };
  const [SHADER, UNITS] = ["matrix/matmul-matrices", "matrix/matrices/matrices"];

  test.each([
    ["right", imitated, 1],
    ["off by a 32nd", changed(UNITS, "result[i] +=", "result[i] += 0.03125 +"), 0],
    [
      "deaf to low halves of tokens",
      changed(SHADER, "rests[s] = multiply(low, right, rests[s]);", ""),
      0,
    ],
    [
      "deaf to low halves of weights",
      changed(SHADER, "PITCH + k + LOW), rests[s]);", "PITCH + k), rests[s]);"),
      0,
    ],
    [
      "summing in halves",
      changed(
        UNITS,
        "return result;",
        "for (var i = 0u; i < M * N / 8u; i++) { result[i] = quantizeToF16(result[i]); } return result;",
      ),
      0,
    ],
    ["refused", changed(UNITS, "fn multiply", "fn divide"), 0],
  ])("are tried: %s", async (_, shaders, verdict) => {
    await using device = await openDevice({ matrices: { M: 16, N: 8, K: 16 } });
    expect(await tryMatrices(device, shaders)).toBe(verdict);
    const numbers = new Map<string, number>();
    const memory = {
      get: async (name: string) => (name.startsWith("workgroups") ? 512 : numbers.get(name)),
      set: async (name: string, value: number) => void numbers.set(name, value),
    };
    const open = () => openDevice({ matrices: { M: 16, N: 8, K: 16 } });
    const tuning = await tuningOf(device, memory, open, shaders);
    expect(tuning).toEqual({ workgroups: 512, matrices: verdict === 1 });
    expect([...numbers]).toEqual([[expect.stringMatching(/^matrices\/16x8x16\//), verdict]]);
    const never = () => Promise.reject(new Error("asked twice"));
    expect(await tuningOf(device, memory, never, shaders)).toEqual(tuning);
  });
});

const own = await ownShape();
if (!own) {
  console.warn(
    "SKIPPED: this adapter has no subgroup matrices; Mesa's llvmpipe has some from 26 on.",
  );
}

describe.skipIf(!own)("this adapter's own", () => {
  test("multiply every format, and are trusted", async () => {
    const gpu = await useGpu({ matrices: own! });
    for (const format of FORMATS.values()) await check(gpu, format, 131, 512, 70);
    await using device = await openDevice({ matrices: own! });
    expect(await tryMatrices(device, shaderSource)).toBe(1);
  });
});

test("a GH100 as Dawn lists it offers the tensor cores only with halves", () => {
  // Recorded from Dawn on Mesa 26.1's NVK without the card, with vulkan_enable_f16_on_nvidia and without.
  const integers = ["16x16x32", "16x8x32", "16x8x16", "8x8x16"].flatMap((shape) => [
    config("u8", "u32", shape),
    config("i8", "i32", shape),
  ]);
  const halves = ["16x16x16", "16x8x16", "16x8x8"].flatMap((shape) => [
    config("f16", "f16", shape),
    config("f16", "f32", shape),
  ]);
  const gh100 = (features: string[], matrixConfigs: object[]) =>
    offeredMatrixShape({
      info: { isFallbackAdapter: false, subgroupMinSize: 32, subgroupMaxSize: 32 },
      features: new Set(features),
      languageFeatures: new Set(["subgroup_id"]),
      limits: { maxComputeInvocationsPerWorkgroup: 1024, maxComputeWorkgroupStorageSize: 49152 },
      matrixConfigs,
    } as unknown as Device);
  expect(gh100(["subgroups"], integers)).toBeUndefined();
  expect(gh100(["subgroups", "shader-f16"], [...halves, ...integers])).toBe("16x16x16");
});

function config(componentType: string, resultComponentType: string, shape: string): object {
  const [M, N, K] = shape.split("x").map(Number);
  return { componentType, resultComponentType, M, N, K };
}
