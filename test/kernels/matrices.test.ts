// The product by subgroup matrices. Few drivers have them: what uses them is run here by matrices that each lane imitates, and
// by those of the adapter where it has some, as Mesa's llvmpipe from 26 on.

import { describe, expect, test } from "vitest";
import { SUBGROUP_MATRIX } from "../../src/kernels/device.ts";
import { decoderOf, type WeightFormat } from "../../src/kernels/formats/format.ts";
import { FORMATS } from "../../src/kernels/formats/index.ts";
import { assemble } from "../../src/kernels/kernel.ts";
import { matmulTiling, matrixShape } from "../../src/kernels/lanes.ts";
import { project } from "../../src/kernels/reference.ts";
import { tryMatrices, tuningOf } from "../../src/kernels/tuning.ts";
import { decode, randomFloats, randomTensor } from "../../src/laboratory/random.ts";
import { openDevice, shaderSource, type TestGpu, useGpu } from "../support/gpu.ts";
import { IMITATED, imitated, ownShape, SHAPES } from "../support/matrices.ts";
import { expectClose } from "../support/numbers.ts";

/** The absolute error that halves allow in x W^T, element by element. */
function bound(x: Float32Array, weights: Float32Array, tokens: number, n: number, k: number) {
  const most = project(x.map(Math.abs), weights.map(Math.abs), tokens, n, k);
  const ones = new Float32Array(k).fill(1);
  const [sumX, sumW] = [
    project(x.map(Math.abs), ones, tokens, 1, k),
    project(ones, weights.map(Math.abs), 1, n, k),
  ];
  // Either factor is off by half an ulp of 22 bits, or by half the smallest half (x four times that: SHRINK); the product of
  // the low halves, 2^-22, is left out; and 3 k terms are summed in f32.
  const relative = 3 * 2 ** -22 + 3 * k * 2 ** -24;
  return most.map(
    (sum, i) => sum * relative + 2 ** -25 * (4 * sumW[i % n]! + sumX[Math.floor(i / n)]!),
  );
}

async function check(gpu: TestGpu, format: WeightFormat, n: number, k: number, tokens: number) {
  expect(matmulTiling(gpu.library).page).toBe("matmul-matrices");
  const file = randomTensor(format, n, k, 1);
  const numbers = randomFloats(2, tokens * k);
  const before = randomFloats(3, tokens * n);
  const weights = await gpu.weights(format, n, k, file);
  const x = await gpu.activations(tokens, k, numbers);
  const y = await gpu.activations(tokens, n, before);
  await gpu.run(gpu.several.project(x, weights, y), { tokens });
  const plain = await gpu.readActivations(y);
  await gpu.run(gpu.several.project(x, weights, y, { add: true }), { tokens });
  const twice = await gpu.readActivations(y);
  const decoded = decode(format, file);
  const expected = project(numbers, decoded, tokens, n, k);
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
      const pages = ["matmul-matrices", ...decoderOf(format), "matrices/matrices"];
      const code = assemble([...pages, `matrices/${M}x${N}x${K}`].map(shaderSource));
      const { messages } = await device.handle.createShaderModule({ code }).getCompilationInfo();
      expect(messages.map(({ message }) => message)).toEqual([]);
    }
  }
});

describe.each(SHAPES)("imitated, $M x $N x $K", (shape) => {
  test("multiplies what fills tiles and what does not, and adds", async () => {
    const gpu = await useGpu({ matrices: shape }, imitated);
    expect(matrixShape(gpu.device)).toBe(`${shape.M}x${shape.N}x${shape.K}`);
    await check(gpu, FORMATS.get("Q4_K")!, 67, 256, 70);
  });
});

test("activations beyond the largest half arrive", async () => {
  const gpu = await useGpu({ matrices: { M: 8, N: 8, K: 8 } }, imitated);
  const weights = await gpu.weights(
    FORMATS.get("F32")!,
    1,
    32,
    new Uint8Array(Float32Array.from({ length: 32 }, (_, i) => i - 8).buffer),
  );
  const x = await gpu.activations(
    2,
    32,
    Float32Array.from({ length: 64 }, (_, i) => (i % 32 === 9 ? 250001 : 0)),
  );
  const y = await gpu.activations(2, 1);
  await gpu.run(gpu.several.project(x, weights, y), { tokens: 2 });
  expect([...(await gpu.readActivations(y))]).toEqual([250001, 250001]);
});

test("matrices are for cards whose subgroups have one size, which offer halves summed in f32", async () => {
  const shape = { M: 16, N: 16, K: 16 };
  await using card = await openDevice({ matrices: shape });
  expect(matrixShape(card)).toBe("16x16x16");
  const as = (name: string, value: unknown) => Object.create(card, { [name]: { value } });
  const info = (changes: object) =>
    as("info", { subgroupMinSize: 8, subgroupMaxSize: 8, isFallbackAdapter: false, ...changes });
  expect(matrixShape(info({}))).toBe("16x16x16");
  expect(matrixShape(info({ isFallbackAdapter: true }))).toBeUndefined();
  expect(matrixShape(info({ subgroupMaxSize: 32 }))).toBeUndefined();
  expect(matrixShape(as("features", new Set(["subgroups"])))).toBeUndefined();
  const types = { componentType: "f16", resultComponentType: "f32" };
  const offers = (...configs: object[]) => matrixShape(as("matrixConfigs", configs));
  expect(offers({ ...types, M: 4, N: 4, K: 4 })).toBeUndefined();
  expect(offers({ ...types, ...shape, resultComponentType: "f16" })).toBeUndefined();
  expect(offers({ ...types, M: 16, N: 8, K: 8 }, { ...types, M: 16, N: 8, K: 16 })).toBe("16x8x16");
});

describe("matrices that an adapter is not known for", () => {
  const wrong = (name: string) =>
    name === "matrices/matrices"
      ? IMITATED.replace("result[i] +=", "result[i] += 0.03125 + ")
      : shaderSource(name);

  test.each([
    ["right", imitated, 1],
    ["off by a 32nd", wrong, 0],
  ])("are tried: %s", async (_, shaders, verdict) => {
    await using device = await openDevice({ matrices: { M: 16, N: 8, K: 16 } });
    expect(await tryMatrices(device, shaders)).toBe(verdict);
    const numbers = new Map<string, number>();
    const memory = {
      recall: async (name: string) => (name.startsWith("workgroups") ? 512 : numbers.get(name)),
      keep: async (name: string, value: number) => void numbers.set(name, value),
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
