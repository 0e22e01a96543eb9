// Which shader an adapter gets, and how much a workgroup does. What the shaders compute is tested elsewhere, on all of them.

import { expect, test } from "vitest";
import { type Adapter, readAdapter } from "../../src/kernels/adapter/adapter.ts";
import {
  attentionSplits,
  matmulTiling,
  matvecTiling,
  reduction,
} from "../../src/kernels/adapter/tiling.ts";
import type { Device } from "../../src/kernels/gpu/device.ts";
import { useGpu } from "../support/gpu.ts";

const gpu = await useGpu();

function tiling(adapter: Adapter, n: number, workgroups = 16) {
  const { placement } = adapter;
  return matvecTiling({ ...adapter, workgroups }, { placement, n, tokens: "one", least: 8 });
}

const TEXTURES = "readonly_and_readwrite_storage_textures";

function adapter(
  isFallbackAdapter: boolean,
  least: number,
  most = least,
  languageFeatures = [TEXTURES],
): Adapter {
  const info = { isFallbackAdapter, subgroupMinSize: least, subgroupMaxSize: most };
  return readAdapter({
    info,
    features: new Set(["subgroups"]),
    languageFeatures: new Set(languageFeatures),
    limits: gpu.device.limits,
  } as unknown as Device);
}
const llvmpipe = adapter(true, 8);
const nvidia = adapter(false, 32);
const intel = adapter(false, 8, 32);

test("adapters that are CPUs, have subgroups of eight and read textures get shaders of their own", () => {
  expect(tiling(llvmpipe, 4096).shader).toBe("cpu/matvec-cpu");
  expect(matmulTiling(llvmpipe).shader).toBe("cpu/matmul-cpu");
  expect(reduction(llvmpipe, 8)).toBe("cpu/reduce-eight");
  const mute = adapter(true, 8, 8, []);
  for (const other of [nvidia, intel, adapter(true, 4), adapter(true, 16), mute]) {
    expect(tiling(other, 4096).shader).toBe("matrix/matvec");
    expect(matmulTiling(other).shader).toBe("matrix/matmul");
  }
  expect([reduction(nvidia, 32), reduction(intel, 32)]).toEqual([
    "rows/reduce-subgroup",
    "rows/reduce",
  ]);
});

test("llvmpipe is such an adapter", async () => {
  const { description } = gpu.device.info;
  const { shader } = tiling(gpu.adapter, 4096);
  expect(shader === "cpu/matvec-cpu", description).toBe(description.includes("llvmpipe"));
});

test.each([
  [llvmpipe, 16, 768, 48],
  [llvmpipe, 16, 4096, 256],
  [llvmpipe, 2, 768, 328], // twice, and then 112
  [llvmpipe, 2, 4096, 944], // four times, since twice there is no room for, and then 320
  [llvmpipe, 4, 2304, 536],
  [llvmpipe, 4, 2301, 536],
  [llvmpipe, 4, 9, 8],
  [llvmpipe, 16, 128256, 1000], // 128 times, and then 256
  [llvmpipe, 1e-3, 128256, 1024], // at most
  [adapter(true, 4), 16, 4096, 64],
  [nvidia, 512, 4096, 8],
  [nvidia, 512, 1024, 8], // at least
  [nvidia, 512, 128256, 32], // at most
])("%j, %d workgroups, %d rows: a workgroup takes %d", (device, workgroups, n, rows) => {
  expect(tiling(device, n, workgroups).overrides.ROWS).toBe(rows);
});

test("attention is split for a card, and on a CPU only where workgroups are few", () => {
  expect(attentionSplits(nvidia, 1000, 12)).toBe(4);
  expect(attentionSplits(llvmpipe, 1000, 12)).toBe(1);
  expect(attentionSplits(llvmpipe, 1000, 4)).toBe(3);
  expect(attentionSplits(llvmpipe, 100, 1)).toBe(1);
});
