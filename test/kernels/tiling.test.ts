// Which shader an adapter gets, and how much a workgroup does. What the shaders compute is tested elsewhere, on all of them.

import { expect, test } from "vitest";
import { type Adapter, readAdapter } from "../../src/kernels/adapter/adapter.ts";
import {
  attentionRange,
  attentionTokens,
  longAttention,
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

test("the keys of a token are split as the adapter, the key/value heads and their number ask", () => {
  const most = 64;
  const range = (device: Adapter, keys: number, groups: number) =>
    attentionRange(device, { keys, groups, most });
  // A power of two: at least 32 positions on a card, and at most 64 ranges of a text.
  expect(range(nvidia, 20, 8)).toBe(32);
  expect(range(nvidia, 2048, 8)).toBe(32);
  expect(range(nvidia, 2049, 8)).toBe(64);
  expect(range(nvidia, 131_072, 8)).toBe(2048);
  expect(range(nvidia, 2048, 1)).toBe(32);
  expect(range(nvidia, 2048, 64)).toBe(256);
  expect(range(nvidia, 2048, 512)).toBe(2 ** 32);
  // At least 128 on a CPU, and none split that has workgroups enough.
  expect(range(llvmpipe, 400, 3)).toBe(128);
  expect(range(llvmpipe, 4096, 3)).toBe(512);
  expect(range(llvmpipe, 4097, 3)).toBe(1024);
  expect(range(llvmpipe, 4096, 24)).toBe(2 ** 32);
  expect(attentionRange(nvidia, { keys: 2048, groups: 8, most: 1 })).toBe(2 ** 32);
});

test.each([
  [1, 4],
  [2, 2],
  [3, 4],
  [4, 1],
  [6, 2],
  [7, 4],
  [8, 1],
])("tiles of attention whose heads come by %d have %d tokens", (share, tokens) => {
  expect(attentionTokens(share)).toBe(tokens);
});

test("a CPU takes long pieces by 32 query rows, of heads that its stack has room for", () => {
  const cpu = "cpu/attention-cpu";
  const heads = { heads: 9, kvHeads: 3, headWidth: 64 };
  expect(longAttention(llvmpipe, heads)).toEqual({ shader: cpu, tokens: 10 });
  expect(longAttention(llvmpipe, { ...heads, headWidth: 256 }).shader).not.toBe(cpu);
  expect(longAttention(llvmpipe, { ...heads, heads: 99 }).shader).not.toBe(cpu);
  expect(longAttention(nvidia, heads)).toEqual({ shader: "attention/attention", tokens: 4 });
});
