// Buffers and errors of the device, on the null backend; halves; the library of kernels.

import { describe, expect, test } from "vitest";
import { readAdapter } from "../../src/kernels/adapter/adapter.ts";
import { attentionLanes } from "../../src/kernels/adapter/tiling.ts";
import { CapacityError, GpuError } from "../../src/kernels/gpu/device.ts";
import { KernelLibrary } from "../../src/kernels/gpu/kernel.ts";
import { USAGE } from "../../src/kernels/gpu/usage-flags.ts";
import { floatToHalf, halfToFloat } from "../../src/kernels/weights/half.ts";
import { openDevice, shaderSource, useGpu } from "../support/gpu.ts";

const gpu = await useGpu({ null: true });
const STORAGE = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;

describe("device", () => {
  test("says that it was closed to whoever still waits for a result", async () => {
    const device = await openDevice({ null: true });
    const buffer = await device.createBuffer("weights of a probe", 16, STORAGE);
    const reading = device.read(buffer);
    reading.catch(() => {});
    await device.close();
    await expect(reading).rejects.toThrow(/closed before weights of a probe .* was (read|made)/);
  });

  test("counts the buffers that it owns, and frees each once", async () => {
    const before = gpu.device.memory;
    const a = await gpu.device.createBuffer("a", 1000, STORAGE);
    const b = await gpu.device.createBuffer("b", 1, STORAGE);
    expect([a.size, b.size]).toEqual([1000, 16]);
    expect(gpu.device.memory).toEqual({ bytes: before.bytes + 1016, buffers: before.buffers + 2 });
    gpu.device.release(a);
    gpu.device.release(a);
    expect(gpu.device.memory).toEqual({ bytes: before.bytes + 16, buffers: before.buffers + 1 });
    gpu.device.release(b);
    expect(gpu.device.memory).toEqual(before);
  });

  test("closing frees everything, twice is once", async () => {
    const device = await openDevice({ null: true });
    await device.createBuffer("a", 1000, STORAGE);
    await device.close();
    await device.close();
    expect(device.memory).toEqual({ bytes: 0, buffers: 0 });
    device.check(); // that a closed device is lost is no failure
  });

  test("a buffer beyond the limit is refused by name, and leaves nothing behind", async () => {
    const before = gpu.device.memory;
    const bytes = gpu.device.limits.maxBufferSize + 4;
    const failure = gpu.device.createBuffer("blk.7.ffn_up", bytes, STORAGE);
    await expect(failure).rejects.toThrow(CapacityError);
    await expect(failure).rejects.toThrow(new RegExp(`blk\\.7\\.ffn_up: ${bytes} bytes`));
    expect(gpu.device.memory).toEqual(before);
  });

  test("a copy to be read that there is no memory for is a CapacityError, and the next read works", async () => {
    const device = await openDevice({ null: true });
    const buffer = await device.createBuffer("numbers", 16, STORAGE);
    const before = device.memory;
    const huge = device.read(buffer, 0, device.limits.maxBufferSize + 4);
    await expect(huge).rejects.toThrow(CapacityError);
    await expect(huge).rejects.toThrow(/numbers \(read back\)/);
    const { handle } = device;
    const createBuffer = handle.createBuffer.bind(handle);
    handle.createBuffer = () => createBuffer({ size: 2 ** 50, usage: USAGE.MAP_READ }); // what a driver refuses
    await expect(device.read(buffer)).rejects.toThrow(CapacityError);
    handle.createBuffer = createBuffer;
    expect((await device.read(buffer)).byteLength).toBe(16);
    expect(device.memory).toEqual(before);
    await device.close();
  });

  test("what Dawn reports to nobody is thrown by check(), the first report again and again", async () => {
    const device = await openDevice({ null: true });
    device.check();
    device.handle.createBuffer({ size: 16, usage: 0 });
    device.handle.createSampler({ lodMinClamp: -1 });
    await device.queue.onSubmittedWorkDone();
    for (let i = 0; i < 2; i++) {
      expect(() => device.check()).toThrow(GpuError);
      expect(() => device.check()).toThrow(/usage/i);
    }
    await device.close();
  });

  test("features are refused on request", async () => {
    const device = await openDevice({ null: true, refuse: ["shader-f16", "subgroups"] });
    expect(gpu.device.features.has("shader-f16")).toBe(true);
    expect(device.features.has("shader-f16")).toBe(false);
    expect(device.features.has("subgroups")).toBe(false);
    await device.close();
  });

  test("without an adapter nothing is skipped: the error names npm run setup", async () => {
    const { requestAdapter } = await import("../../src/platform/dawn.ts");
    const none = { requestAdapter: async () => null } as unknown as GPU;
    await expect(requestAdapter(none)).rejects.toThrow(/npm run setup/);
  });
});

describe("lanes", () => {
  test("are a power of two from 8 to 32, and enough for a quarter of a head", () => {
    for (const [subgroup, lanes] of [
      [4, 8],
      [8, 8],
      [16, 16],
      [32, 32],
      [64, 32],
      [128, 32],
      [undefined, 32],
    ] as const) {
      const info = { value: { subgroupMaxSize: subgroup } };
      const adapter = readAdapter(Object.create(gpu.device, { info }));
      expect(adapter.lanes).toBe(lanes);
      for (const width of [8, 16, 64, 80, 96, 128, 256, 576]) {
        const wide = attentionLanes(adapter, width);
        expect(wide).toBeGreaterThanOrEqual(Math.max(lanes, width / 32));
        expect(Math.log2(wide) % 1).toBe(0);
      }
    }
  });
});

describe("library", () => {
  test("gives the same kernel for the same specification, another one otherwise", async () => {
    const library = new KernelLibrary(gpu.device, shaderSource);
    const spec = {
      shader: "rows/gated-activation",
      fragments: ["rows/silu"],
      overrides: { F: 32, STRIDE: 32, LANES: 8 },
    };
    const kernel = library.kernel(spec);
    expect(library.kernel({ ...spec, overrides: { ...spec.overrides } })).toBe(kernel);
    expect(library.kernel({ ...spec, overrides: { ...spec.overrides, F: 64 } })).not.toBe(kernel);
    await library.ready();
  });
});

describe("halves", () => {
  test("all 65536 survive the way to f32 and back", () => {
    for (let h = 0; h < 65536; h++) {
      const value = halfToFloat(h);
      if (Number.isNaN(value)) expect(Number.isNaN(halfToFloat(floatToHalf(value)))).toBe(true);
      else if (floatToHalf(value) !== h) expect.fail(`${h} became ${floatToHalf(value)}`);
    }
  });

  test("every number goes to the nearest half, ties to even", () => {
    // Between each half and the next: just below the middle, the middle itself, just above it.
    for (let h = 0; h < 0x7c00; h++) {
      const [low, high] = [halfToFloat(h), h === 0x7bff ? 65536 : halfToFloat(h + 1)];
      const middle = (low + high) / 2;
      const found = [middle * (1 - 2 ** -20), middle, middle * (1 + 2 ** -20)].map(floatToHalf);
      const expected = [h, h % 2 === 0 ? h : h + 1, h + 1];
      if (found.join() !== expected.join())
        expect.fail(`around ${middle}: ${found}, not ${expected}`);
    }
    expect([1e6, -1e6, Infinity].map(floatToHalf)).toEqual([0x7c00, 0xfc00, 0x7c00]);
    expect([0, -0, 1e-10, -1e-10].map(floatToHalf)).toEqual([0, 0x8000, 0, 0x8000]);
  });
});
