// Where planes lie changes no bit: row after row in buffers, or by eight rows and in textures.

import { describe, expect, test } from "vitest";
import type { Placement, WeightFormat } from "../../src/kernels/formats/format.ts";
import { FORMATS } from "../../src/kernels/formats/index.ts";
import {
  mostBytes,
  placementOf,
  planeBytes,
  planeRowBytes,
  texelBits,
} from "../../src/kernels/planes.ts";
import { createWeights, memoryOf, weightBytes } from "../../src/kernels/tensor.ts";
import { decode, randomFloats, randomTensor } from "../../src/laboratory/random.ts";
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
  await gpu.run(gpu.several.embed(ids, weights, all), { tokens: n });
  await gpu.run(gpu.single.project(x, weights, y));
  await gpu.run(gpu.several.project(xs, weights, ys), { tokens: 3 });
  const found = [];
  for (const numbers of [all, y, ys]) found.push(await gpu.readActivations(numbers));
  gpu.release(x, xs, y, ys, all, ids, weights);
  return found;
}

describe.each(formats)("$name", (format) => {
  const shapes = SHAPES.filter(([, k]) => k % format.blockWeights === 0);

  test.each(shapes)(
    "[%i, %i]: by eight rows in textures and row after row in buffers give the same bits",
    async (n, k) => {
      const file = randomTensor(format, n, k, n + k);
      const [rows, eights] = [
        await uses("rows", format, n, k, file),
        await uses("eights", format, n, k, file),
      ];
      expect(eights).toEqual(rows);
      const weights = decode(format, file);
      expectClose(eights[0]!, [...weights], {});
    },
  );
});

test("planes whose textures have rows of 128 texels", async () => {
  const format = FORMATS.get("F32")!;
  const [n, k] = [2500, 1024];
  expect(texelBits(format, n, k)).toBe(7);
  const file = randomTensor(format, n, k, 4);
  const [numbers, ids] = [randomFloats(1, k), [0, 1, 1023, 1024, 1999, 2498, 2499]];
  const found = [];
  for (const placement of ["rows", "eights"] as const) {
    const weights = await gpu.weights(format, n, k, file, placement);
    const [x, y] = [await gpu.activations(1, k, numbers), await gpu.activations(1, n)];
    const [tokens, rows] = [
      await gpu.buffer(Uint32Array.from(ids)),
      await gpu.activations(ids.length, k),
    ];
    await gpu.run(gpu.single.project(x, weights, y));
    await gpu.run(gpu.several.embed(tokens, weights, rows), { tokens: ids.length });
    found.push([await gpu.readActivations(y), await gpu.readActivations(rows)]);
    gpu.release(x, y, tokens, rows, weights);
  }
  expect(found[1]).toEqual(found[0]);
});

test("what comes in several slices lies where it would in one", async () => {
  // 2.2 MB, and 1 MiB a slice; a texture's rows are 64 texels, of which a slice may begin in the middle.
  const format = FORMATS.get("Q4_K")!;
  const [n, k] = [1501, 2560];
  const file = randomTensor(format, n, k, 3);
  const [rows, eights] = [
    await uses("rows", format, n, k, file),
    await uses("eights", format, n, k, file),
  ];
  // Bytes: to look at millions of numbers one by one takes long.
  const bits = (found: readonly Float32Array[]) => found.map(({ buffer }) => Buffer.from(buffer));
  expect(Buffer.concat(bits(eights)).equals(Buffer.concat(bits(rows)))).toBe(true);
});

test("planes take the same memory wherever they lie", async () => {
  const [n, k] = [300, 2048];
  for (const format of formats) {
    for (const placement of ["rows", "eights"] as const) {
      const before = gpu.device.memory.bytes;
      const weights = await createWeights(gpu.device, "w", format, n, k, placement);
      expect(weights.bytes).toBe(weightBytes(format, n, k));
      expect(gpu.device.memory.bytes - before).toBe(weights.bytes);
      const textures = memoryOf(weights.parts[0]!).filter((memory) => "width" in memory);
      const wide = format.planes.filter(({ texel }) => texel);
      expect(textures.length).toBe(placement === "eights" ? wide.length : 0);
      gpu.release(weights);
    }
  }
});

test("software adapters with subgroups of eight get eight rows together; other rungs, cards and vectors rows", async () => {
  const [tiled, card] = [await useGpu({ refuse: ["subgroups"] }), await useGpu({ card: true })];
  for (const [on, n, placement] of [
    [gpu, 8, "eights"],
    [gpu, 3, "eights"],
    [gpu, 1, "rows"],
    [tiled, 8, "rows"],
    [card, 8, "rows"],
  ] as const) {
    const weights = await createWeights(on.device, "w", FORMATS.get("Q4_0")!, n, 64);
    expect(weights.parts[0]!.placement).toBe(placement);
    on.release(weights);
  }
});

test("an adapter whose pages cannot read textures gets rows", () => {
  const mute = Object.create(gpu.device, { languageFeatures: { value: new Set() } });
  expect(placementOf(gpu.device, 8)).toBe("eights");
  expect(placementOf(mute, 8)).toBe("rows");
});

test("every texture is of a size that all adapters allow", () => {
  for (const format of formats) {
    for (const plane of format.planes) {
      if (!plane.texel) continue;
      for (const [n, k] of [
        [8, 256],
        [301, 2304],
        [128256, 4096],
        [65536, 16384],
      ] as const) {
        const fit = Math.floor(mostBytes(plane) / planeRowBytes(plane, k) / 8) * 8;
        const most = Math.min(n, fit);
        const width = 2 ** texelBits(format, most, k);
        const height = planeBytes(format, plane, most, k) / plane.texel.bytes / width;
        expect(Number.isInteger(height)).toBe(true);
        expect(Math.max(width, height)).toBeLessThanOrEqual(8192);
      }
    }
  }
});
