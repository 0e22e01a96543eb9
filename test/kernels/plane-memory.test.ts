// Where planes lie changes no weight: row after row in buffers, or by eight rows and in textures.

import { describe, expect, test } from "vitest";
import { type Placement, readAdapter } from "../../src/kernels/adapter/adapter.ts";
import type { Device } from "../../src/kernels/gpu/device.ts";
import { project } from "../../src/kernels/matrix/products.ts";
import * as reference from "../../src/kernels/reference.ts";
import { embed } from "../../src/kernels/rows/rows.ts";
import type { WeightFormat } from "../../src/kernels/weights/formats/format.ts";
import { FORMATS } from "../../src/kernels/weights/formats/index.ts";
import {
  planeBytes,
  rowsPerPart,
  texelBits,
  weightBytes,
} from "../../src/kernels/weights/layout.ts";
import { createWeights, memoryOf } from "../../src/kernels/weights/tensor.ts";
import { Uploader } from "../../src/kernels/weights/upload.ts";
import { decode, randomFloats, randomTensor } from "../../src/laboratory/kernels/random.ts";
import { useGpu } from "../support/gpu.ts";
import { expectClose } from "../support/numbers.ts";

const gpu = await useGpu();
const formats = [...FORMATS.values()];

/** Rows that are no multiple of eight, of whole super-blocks and of what is not. */
const SHAPES = [
  [45, 2304],
  [9, 11 * 256],
  [17, 35 * 32],
  [19, 896],
] as const;

/** What kernels compute with a matrix: rows of it, its product with one vector, gated, and with several. */
async function uses(
  placement: Placement,
  format: WeightFormat,
  n: number,
  k: number,
  file: Uint8Array,
) {
  const weights = await gpu.weights(format, n, k, file, placement);
  const [one, three] = [1, 3].map((tokens) => randomFloats(tokens, tokens * k));
  const x = await gpu.activations(1, k, one);
  const xs = await gpu.activations(3, k, three);
  const [y, ys] = [await gpu.activations(1, n), await gpu.activations(3, n)];
  const all = await gpu.activations(n, k);
  const ids = await gpu.buffer(Uint32Array.from({ length: n }, (_, i) => i));
  await gpu.run(embed(gpu.several, { tokens: ids, choices: ids, table: weights, x: all }), {
    tokens: n,
  });
  await gpu.run(project(gpu.one, { x, weights, y }));
  await gpu.run(project(gpu.several, { x: xs, weights, y: ys }), { tokens: 3 });
  const found = [];
  for (const numbers of [all, y, ys]) found.push(await gpu.readActivations(numbers));
  gpu.release(x, xs, y, ys, all, ids, weights);
  return found;
}

/** Of products of a matrix [n, k] with x [T, k]: every term is off by a rounding or two, and every sum of them by one. */
function expectProducts(
  found: Float32Array,
  x: Float32Array,
  weights: Float32Array,
  n: number,
  k: number,
): void {
  const tokens = x.length / k;
  const magnitudes = reference.project(x.map(Math.abs), weights.map(Math.abs), tokens, n, k);
  const abs = magnitudes.map((m) => (k + 2) * 2 ** -24 * m);
  expectClose(found, reference.project(x, weights, tokens, n, k), { abs });
}

describe.each(formats)("$name", (format) => {
  const shapes = SHAPES.filter(([, k]) => k % format.blockWeights === 0);

  test.each(shapes)(
    "[%i, %i]: by eight rows in textures, and row after row in buffers",
    async (n, k) => {
      const file = randomTensor(format, n, k, n + k);
      const [rows, interleaved] = [
        await uses("rows", format, n, k, file),
        await uses("interleaved", format, n, k, file),
      ];
      const weights = decode(format, file);
      expectClose(interleaved[0]!, [...weights], {});
      expect(rows[0]).toEqual(interleaved[0]);
      for (const [, one, three] of [rows, interleaved]) {
        expectProducts(one!, randomFloats(1, k), weights, n, k);
        expectProducts(three!, randomFloats(3, 3 * k), weights, n, k);
      }
      expect(rows[2], "the same shader, the same order of sums").toEqual(interleaved[2]);
    },
  );
});

test("what was in memory before does not come through where a row, or eight rows, are not full", async () => {
  const format = FORMATS.get("F16")!;
  const [n, k] = [18, 100];
  const file = randomTensor(format, n, k, 5);
  const weights = await createWeights(gpu.device, {
    label: "w",
    format,
    n,
    k,
    placement: gpu.adapter.placement,
  });
  const full = await createWeights(gpu.device, {
    label: "NaN",
    format,
    n: 64,
    k: 1024,
    placement: gpu.adapter.placement,
  });
  const uploader = new Uploader(gpu.device);
  await uploader.upload(full, 0, 64, async (_, into) => void into.fill(0xff));
  await uploader.upload(weights, 0, n, async (at, into) => {
    into.set(file.subarray(at, at + into.length));
  });
  await uploader.finish();
  const numbers = randomFloats(1, k);
  const [x, y] = [await gpu.activations(1, k, numbers), await gpu.activations(1, n)];
  await gpu.run(project(gpu.one, { x, weights, y }));
  expectProducts(await gpu.readActivations(y), numbers, decode(format, file), n, k);
  gpu.release(x, y, weights, full);
});

test("planes whose textures have rows of 128 texels, and that are written from the middle of one on", async () => {
  const format = FORMATS.get("F32")!;
  const [n, k] = [2500, 1056]; // the last chunks of eight rows are 64 texels
  expect(texelBits(format, n, k)).toBe(7);
  const file = randomTensor(format, n, k, 4);
  const weights = await gpu.weights(format, n, k, file, "interleaved");
  const ids = [0, 1, 300, 1023, 1024, 1300, 1999, 2498, 2499]; // 248 rows a slice
  const tokens = await gpu.buffer(Uint32Array.from(ids));
  const rows = await gpu.activations(ids.length, k);
  await gpu.run(embed(gpu.several, { tokens, choices: tokens, table: weights, x: rows }), {
    tokens: ids.length,
  });
  const all = decode(format, file);
  const expected = ids.flatMap((row) => [...all.subarray(row * k, (row + 1) * k)]);
  expect([...(await gpu.readActivations(rows))]).toEqual(expected);
  gpu.release(tokens, rows, weights);
});

test("what comes in several slices lies where it would in one", async () => {
  // 2.2 MB, and 1 MiB a slice; a texture's rows are 64 texels, of which a slice may begin in the middle.
  const format = FORMATS.get("Q4_K")!;
  const [n, k] = [1501, 2560];
  const file = randomTensor(format, n, k, 3);
  const [rows, interleaved] = [
    await uses("rows", format, n, k, file),
    await uses("interleaved", format, n, k, file),
  ];
  // The rows themselves, and products by one shader; bytes, since to look at millions of numbers one by one takes long.
  const bits = ([all, , ys]: readonly Float32Array[]) =>
    Buffer.concat([all!, ys!].map(({ buffer }) => Buffer.from(buffer)));
  expect(bits(interleaved).equals(bits(rows))).toBe(true);
});

test("planes take the same memory wherever they lie", async () => {
  const [n, k] = [300, 2048];
  for (const format of formats) {
    for (const placement of ["rows", "interleaved"] as const) {
      const before = gpu.device.memory.bytes;
      const weights = await createWeights(gpu.device, { label: "w", format, n, k, placement });
      expect(weights.bytes).toBe(weightBytes(format, n, k));
      expect(gpu.device.memory.bytes - before).toBe(weights.bytes);
      const textures = memoryOf(weights.parts[0]!).filter((memory) => "width" in memory);
      const wide = format.planes.filter(({ texel }) => texel);
      expect(textures.length).toBe(placement === "interleaved" ? wide.length : 0);
      gpu.release(weights);
    }
  }
});

test("software adapters with subgroups of eight get eight rows together; other adapters, cards and vectors rows", async () => {
  const [tiled, card] = [await useGpu({ refuse: ["subgroups"] }), await useGpu({ card: true })];
  for (const [on, n, placement] of [
    [gpu, 8, "interleaved"],
    [gpu, 3, "interleaved"],
    [gpu, 1, "rows"],
    [tiled, 8, "rows"],
    [card, 8, "rows"],
  ] as const) {
    const { device, adapter } = on;
    const weights = await createWeights(device, {
      label: "w",
      format: FORMATS.get("Q4_0")!,
      n,
      k: 64,
      placement: adapter.placement,
    });
    expect(weights.parts[0]!.placement).toBe(placement);
    on.release(weights);
  }
});

test("an adapter whose shaders cannot read textures gets rows", () => {
  const mute = Object.create(gpu.device, { languageFeatures: { value: new Set() } });
  expect(readAdapter(gpu.device).placement).toBe("interleaved");
  expect(readAdapter(mute).placement).toBe("rows");
});

test("every texture is of a size that all adapters allow", () => {
  const huge = {
    limits: { maxStorageBufferBindingSize: 2 ** 40, maxBufferSize: 2 ** 40 },
  } as Device;
  for (const format of formats) {
    for (const plane of format.planes) {
      if (!plane.texel) continue;
      for (const [n, k] of [
        [8, 256],
        [301, 2304],
        [128256, 4096],
        [65536, 16384],
        [18721, 14336], // of F32, a row more than fit, but seven less than lie there
      ] as const) {
        const most = rowsPerPart(huge.limits, { format, n, k, placement: "interleaved" });
        const width = 2 ** texelBits(format, most, k);
        const height = planeBytes(format, plane, most, k) / plane.texel.bytes / width;
        expect(Number.isInteger(height)).toBe(true);
        expect(Math.max(width, height)).toBeLessThanOrEqual(8192);
      }
    }
  }
});
