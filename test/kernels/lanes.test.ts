// Which page an adapter gets, and how much a workgroup does. What the pages compute is tested elsewhere, on all of them.

import { expect, test } from "vitest";
import type { Device } from "../../src/kernels/device.ts";
import { FORMATS } from "../../src/kernels/formats/index.ts";
import { attentionSplits, matmulTiling, matvecTiling, reduction } from "../../src/kernels/lanes.ts";
import { useGpu } from "../support/gpu.ts";

const gpu = await useGpu();
const Q4_K = FORMATS.get("Q4_K")!;

function adapter(isFallbackAdapter: boolean, least: number, most = least): Device {
  const info = { isFallbackAdapter, subgroupMinSize: least, subgroupMaxSize: most };
  return { info, features: new Set(["subgroups"]) } as unknown as Device;
}
const llvmpipe = adapter(true, 8);
const nvidia = adapter(false, 32);
const intel = adapter(false, 8, 32);

test("adapters that are CPUs and have subgroups of eight get pages of their own", () => {
  expect(matvecTiling(llvmpipe, Q4_K, 4096, 768, 8).page).toBe("matvec-lanes");
  expect(matmulTiling(llvmpipe).page).toBe("matmul-lanes");
  expect(reduction(llvmpipe, 8)).toBe("reduce-eight");
  for (const other of [nvidia, intel, adapter(true, 4), adapter(true, 16)]) {
    expect(matvecTiling(other, Q4_K, 4096, 768, 8).page).toBe("matvec");
    expect(matmulTiling(other).page).toBe("matmul");
  }
  expect([reduction(nvidia, 32), reduction(intel, 32)]).toEqual(["reduce-subgroup", "reduce"]);
});

test("llvmpipe is such an adapter", async () => {
  const { description } = gpu.device.info;
  const { page } = matvecTiling(gpu.device, Q4_K, 4096, 768, 8);
  expect(page === "matvec-lanes", description).toBe(description.includes("llvmpipe"));
});

test.each([
  ["Q4_K", 768, 3],
  ["Q6_K", 768, 3],
  ["Q4_K", 2048, 2],
  ["Q4_K", 1280, 1],
  ["Q8_0", 2048, 2],
  ["F16", 768, 1], // 64 bytes a chunk
  ["F32", 2048, 1],
])("%s, rows of %d: a lane takes %d chunks at a time", (name, k, span) => {
  const { overrides } = matvecTiling(llvmpipe, FORMATS.get(name)!, 4096, k, 8);
  expect(overrides.SPAN).toBe(span);
});

test.each([
  [llvmpipe, 768, 32],
  [llvmpipe, 4096, 128],
  [llvmpipe, 128256, 256],
  [adapter(true, 4), 4096, 64],
  [nvidia, 4096, 16],
])("%j, %d rows: a workgroup takes %d", (device, n, rows) => {
  expect(matvecTiling(device, Q4_K, n, 768, 16).overrides.ROWS).toBe(rows);
});

test("attention is split for a card, and on a CPU only where workgroups are few", () => {
  expect(attentionSplits(nvidia, 1000, 12)).toBe(4);
  expect(attentionSplits(llvmpipe, 1000, 12)).toBe(1);
  expect(attentionSplits(llvmpipe, 1000, 4)).toBe(3);
  expect(attentionSplits(llvmpipe, 100, 1)).toBe(1);
});
