// Tensors larger than one binding, by lowering the limits of a real device: split by rows, equal to the last bit.

import { describe, expect, test } from "vitest";
import { createActivations } from "../../src/kernels/gpu/activations.ts";
import { CapacityError, type Device } from "../../src/kernels/gpu/device.ts";
import { project } from "../../src/kernels/matrix/products.ts";
import * as reference from "../../src/kernels/reference.ts";
import { embed } from "../../src/kernels/rows/rows.ts";
import type { WeightFormat } from "../../src/kernels/weights/formats/format.ts";
import { FORMATS } from "../../src/kernels/weights/formats/index.ts";
import {
  placesOf,
  planeRowBytes,
  rowsPerPart,
  weightBytes,
} from "../../src/kernels/weights/layout.ts";
import { createWeights, memoryOf } from "../../src/kernels/weights/tensor.ts";
import { uploadWeights } from "../../src/kernels/weights/upload.ts";
import { decode, randomFloats, randomTensor } from "../../src/laboratory/kernels/random.ts";
import { openDevice, useGpu } from "../support/gpu.ts";
import { expectClose } from "../support/numbers.ts";

const BINDING = 8192;
const gpu = await useGpu({
  limits: { maxStorageBufferBindingSize: BINDING, maxBufferSize: 1 << 20 },
});

const TEXEL: Readonly<Record<string, number>> = { rgba32uint: 16, rg32uint: 8 };

/** The same device, for allocations that keep to larger limits. */
function roomy(device: Device): Device {
  return {
    limits: { ...device.limits, maxStorageBufferBindingSize: 1 << 27, maxBufferSize: 1 << 28 },
    createBuffer: device.createBuffer.bind(device),
    createTexture: device.createTexture.bind(device),
    queue: device.queue,
    info: device.info,
    features: device.features,
    languageFeatures: device.languageFeatures,
  } as unknown as Device;
}

test("the device keeps to the limits that it was opened with", () => {
  expect(gpu.device.limits.maxStorageBufferBindingSize).toBe(BINDING);
});

describe.each(["F16", "Q4_0", "Q3_K", "Q6_K"])("%s", (name) => {
  const format = FORMATS.get(name)!;
  const [n, k] = [451, 256];
  const { placement } = gpu.adapter;
  const file = randomTensor(format, n, k, 1);

  test("split or whole: the same to the last bit", async () => {
    const whole = await createWeights(roomy(gpu.device), { label: name, format, n, k, placement });
    const split = await gpu.weights(format, n, k, file);
    const again = await gpu.weights(format, n, k, file);
    expect(whole.parts.length).toBe(1);
    expect(split.parts.length).toBeGreaterThan(2);
    await uploadWeights(gpu.device, whole, async (at, into) => {
      into.set(file.subarray(at, at + into.length));
    });

    // Parts follow each other without a gap, begin at multiples of 8 and keep to the limit.
    let next = 0;
    for (const part of split.parts) {
      const { firstRow, rows, bindings } = part;
      expect(firstRow).toBe(next);
      expect(firstRow % 8).toBe(0);
      next += rows;
      const bound = Object.values(bindings).flatMap((one) => ("buffer" in one ? one.size! : []));
      const textures = memoryOf(part).flatMap((one) =>
        "width" in one ? TEXEL[one.format]! * one.width * one.height : [],
      );
      for (const bytes of [...bound, ...textures]) expect(bytes).toBeLessThanOrEqual(BINDING);
    }
    expect(next).toBe(n);

    const boundary = split.parts[1]!.firstRow;
    const tokens = [0, boundary - 1, boundary, boundary + 1, n - 1, 0];
    const results = [];
    for (const weights of [whole, split, again]) {
      const ids = await gpu.buffer(Uint32Array.from(tokens));
      const rows = await gpu.activations(tokens.length, k);
      await gpu.run(embed(gpu.several, { tokens: ids, choices: ids, table: weights, x: rows }), {
        tokens: tokens.length,
      });
      const found = [await gpu.readActivations(rows)];
      for (const count of [1, 3]) {
        const target = count === 1 ? gpu.one : gpu.several;
        const x = await gpu.activations(count, k, randomFloats(2, count * k));
        const y = await gpu.activations(count, n, randomFloats(3, count * n));
        await gpu.run(project(target, { x, weights, y, add: true }), { tokens: count });
        found.push(await gpu.readActivations(y));
        gpu.release(x, y);
      }
      results.push(found);
      gpu.release(ids, rows);
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
    const all = decode(format, file);
    expectClose(
      results[1]![0]!,
      tokens.flatMap((row) => [...all.subarray(row * k, (row + 1) * k)]),
      {},
    );
    gpu.release(whole, split, again);
  });
});

test("a last part of one row", async () => {
  const format = FORMATS.get("F16")!;
  const [n, k] = [17, 256]; // of 512 bytes each
  const file = randomTensor(format, n, k, 2);
  const weights = await gpu.weights(format, n, k, file);
  expect(weights.parts.map(({ rows }) => rows)).toEqual([16, 1]);
  const x = await gpu.activations(1, k, randomFloats(3, k));
  const [y, all] = [await gpu.activations(1, n), await gpu.activations(2, k)];
  const tokens = await gpu.buffer(Uint32Array.of(16, 15));
  await gpu.run(project(gpu.one, { x, weights, y }));
  await gpu.run(embed(gpu.several, { tokens, choices: tokens, table: weights, x: all }), {
    tokens: 2,
  });
  const decoded = decode(format, file);
  const rows = [...decoded.subarray(16 * k), ...decoded.subarray(15 * k, 16 * k)];
  expectClose(await gpu.readActivations(all), rows, {});
  // Sums of 256 products of numbers below 4: as many roundings.
  const products = reference.project(randomFloats(3, k), decoded, 1, n, k);
  expectClose(await gpu.readActivations(y), products, { abs: 256 * 2 ** -24 * 16 });
  gpu.release(x, y, all, tokens, weights);
});

describe("rowsPerPart", () => {
  const limited = (binding: number, buffer: number) =>
    ({ limits: { maxStorageBufferBindingSize: binding, maxBufferSize: buffer } }) as Device;
  const formats: readonly WeightFormat[] = [...FORMATS.values()];

  test.each(formats)("$name: every part fits its buffer and its bindings", (format) => {
    for (const k of [256, 512, 1024]) {
      for (const n of [1, 7, 64, 1000, 100_000]) {
        // Limits just above and below what 64 rows take, where the space between planes decides.
        const rows64 = weightBytes(format, 64, k);
        for (let slack = -2048; slack <= 2048; slack += 64) {
          const [binding, buffer] = [1 << 20, rows64 + slack];
          const rows = rowsPerPart(limited(binding, buffer).limits, {
            format,
            n,
            k,
            placement: "rows",
          });
          if (rows === 0) continue;
          expect(rows === n || rows % 8 === 0).toBe(true);
          expect(weightBytes(format, Math.min(rows, n), k)).toBeLessThanOrEqual(buffer);
          for (const plane of format.planes) {
            expect(placesOf(rows) * planeRowBytes(plane, k)).toBeLessThanOrEqual(binding);
          }
        }
      }
    }
  });

  test("a tensor that just fits is not split, nor is one that is a byte too large kept whole", () => {
    const format = FORMATS.get("Q4_0")!;
    const bytes = weightBytes(format, 100, 256);
    expect(
      rowsPerPart(limited(1 << 20, bytes).limits, { format, n: 100, k: 256, placement: "rows" }),
    ).toBe(100);
    expect(
      rowsPerPart(limited(1 << 20, bytes - 1).limits, {
        format,
        n: 100,
        k: 256,
        placement: "rows",
      }),
    ).toBeLessThan(100);
  });
});

test("only planes in textures keep to the largest texture of every adapter", () => {
  const card = {
    limits: { maxStorageBufferBindingSize: 2 ** 32, maxBufferSize: 2 ** 32 },
  } as Device;
  const [format, n, k] = [FORMATS.get("F32")!, 128256, 4096]; // 2.1 GB
  expect(rowsPerPart(card.limits, { format, n, k, placement: "rows" })).toBe(n);
  expect(rowsPerPart(card.limits, { format, n, k, placement: "interleaved" }) * k * 4).toBe(
    2 ** 30,
  ); // 8192 x 8192 texels
});

describe("what does not fit", () => {
  test("names the tensor", async () => {
    const format = FORMATS.get("F32")!;
    // Eight rows of 1024 numbers are 32768 bytes.
    await expect(
      createWeights(gpu.device, {
        label: "blk.0.attn_q",
        format,
        n: 8,
        k: 1024,
        placement: gpu.adapter.placement,
      }),
    ).rejects.toThrow(CapacityError);
    await expect(
      createWeights(gpu.device, {
        label: "blk.0.attn_q",
        format,
        n: 8,
        k: 1024,
        placement: gpu.adapter.placement,
      }),
    ).rejects.toThrow(/^blk\.0\.attn_q: /);
    await expect(createActivations(gpu.device, "logits", 2, 4096)).rejects.toThrow(
      /^logits \[2, 4096\] needs 32768 bytes .* allows 8192/,
    );
    const tooLarge = gpu.device.createBuffer("keys", (1 << 20) + 4, 0x80);
    await expect(tooLarge).rejects.toThrow(CapacityError);
    await expect(tooLarge).rejects.toThrow(/keys: 1048580 bytes/);
  });

  test("a device asked for more than its adapter has gets what the adapter has", async () => {
    const device = await openDevice({ null: true, limits: { maxBufferSize: 2 ** 60 } });
    expect(device.limits.maxBufferSize).toBeLessThan(2 ** 60);
    await device.close();
  });
});
