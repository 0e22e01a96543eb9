// A device for the tests of one file, with a workbench on it.

import { readdirSync, readFileSync } from "node:fs";
import { afterAll, expect } from "vitest";
import { readAdapter } from "../../src/kernels/adapter/adapter.ts";
import { Device, type DeviceOptions } from "../../src/kernels/gpu/device.ts";
import { KernelLibrary, type ShaderSource } from "../../src/kernels/gpu/kernel.ts";
import { ParamBlock } from "../../src/kernels/gpu/params.ts";
import { rowBytes } from "../../src/kernels/weights/formats/format.ts";
import type { Weights } from "../../src/kernels/weights/tensor.ts";
import { Workbench } from "../../src/laboratory/kernels/workbench.ts";
import { openGpu, requestAdapter } from "../../src/platform/dawn.ts";
import { pollRarely } from "../../src/platform/dawn-polling.ts";
import { withMethods } from "./engine.ts";

const KERNELS = new URL("../../src/kernels/", import.meta.url);

/** The shaders as they lie in src/kernels. */
export const shaderSource: ShaderSource = (name) =>
  readFileSync(new URL(`${name}.wgsl`, KERNELS), "utf8");

/** The names of all shaders, such as "matrix/matvec" and "weights/formats/q4-k". */
export function shaderNames(): string[] {
  return readdirSync(KERNELS, { recursive: true })
    .map(String)
    .filter((path) => path.endsWith(".wgsl"))
    .map((path) => path.replaceAll("\\", "/").slice(0, -".wgsl".length))
    .sort();
}

/** All that WebGPU guarantees, and no more. */
export const LOWEST_RUNG: DeviceOptions = {
  refuse: ["subgroups", "shader-f16", "timestamp-query"],
  limits: {
    maxComputeWorkgroupStorageSize: 16384,
    maxStorageBuffersPerShaderStage: 8,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupSizeX: 256,
    maxStorageBufferBindingSize: 128 << 20,
    maxBufferSize: 256 << 20,
  },
};

export interface TestGpuOptions extends DeviceOptions {
  /** Dawn's null backend: it checks and compiles everything, computes nothing, and needs no driver. */
  readonly null?: boolean;
  /** Takes the adapter for a graphics card, which gets other shaders and other workgroups than a software adapter. */
  readonly card?: boolean;
  /** Takes the adapter for a graphics card with subgroups of eight and subgroup matrices of such a shape. */
  readonly matrices?: { readonly M: number; readonly N: number; readonly K: number };
}

/** Opens a device. Where there is no adapter this throws the error that names `npm run setup`: nothing is skipped. */
export async function openDevice(options: TestGpuOptions = {}): Promise<Device> {
  const gpu = openGpu(options.null ? { flags: ["backend=null"] } : {});
  const wait = options.null ? undefined : pollRarely;
  const device = await Device.open(gpu, await requestAdapter(gpu), options, wait);
  if (options.card) {
    // Subgroups of several widths, as Intel's and AMD's: workgroups of 32 lanes that are no subgroup.
    const widths = { subgroupMinSize: 16, subgroupMaxSize: 32 };
    const info = withMethods(device.info, { isFallbackAdapter: false, ...widths });
    Object.defineProperty(device, "info", { value: info });
  }
  if (options.matrices) {
    const info = withMethods(device.info, { isFallbackAdapter: false });
    Object.defineProperty(device, "info", { value: info });
    const types = { componentType: "f16", resultComponentType: "f32" };
    Object.defineProperty(device, "matrixConfigs", { value: [{ ...types, ...options.matrices }] });
  }
  return device;
}

/**
 * The device of a test file, opened once: `const gpu = await useGpu()` at its top. At the end of the file it fails the
 * file if Dawn reported anything, and it is closed.
 */
export async function useGpu(
  options: TestGpuOptions = {},
  shaders = shaderSource,
): Promise<TestGpu> {
  const device = await openDevice(options);
  afterAll(async () => {
    try {
      device.check();
    } finally {
      await device.close();
    }
    expect(device.memory).toEqual({ bytes: 0, buffers: 0 });
  });
  const tuning = { matrices: options.matrices !== undefined };
  const params = await ParamBlock.create(device, "params");
  return new TestGpu(readAdapter(device, tuning), params, new KernelLibrary(device, shaders));
}

/** A workbench with the shaders as they lie in src/kernels. */
export class TestGpu extends Workbench {
  override async weights(...tensor: Parameters<Workbench["weights"]>): Promise<Weights> {
    const [format, n, k, file] = tensor;
    expect(file.length).toBe(n * rowBytes(format, k));
    return super.weights(...tensor);
  }
}
