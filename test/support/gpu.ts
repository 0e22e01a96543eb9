// A device for the tests of one file, and the small steps around a kernel: fill, run, read back.

import { readdirSync, readFileSync } from "node:fs";
import { afterAll, expect } from "vitest";
import { Device, type DeviceOptions } from "../../src/kernels/device.ts";
import { F32 } from "../../src/kernels/formats/f32.ts";
import { rowBytes, type WeightFormat } from "../../src/kernels/formats/format.ts";
import { KernelLibrary, type ShaderSource } from "../../src/kernels/kernel.ts";
import { Ops } from "../../src/kernels/ops.ts";
import { ParamBlock, type StepValues } from "../../src/kernels/params.ts";
import { type Dispatch, run } from "../../src/kernels/recorder.ts";
import {
  type Activations,
  createActivations,
  createWeights,
  type Weights,
} from "../../src/kernels/tensor.ts";
import { uploadWeights } from "../../src/kernels/upload.ts";
import { USAGE } from "../../src/kernels/usage.ts";
import { openGpu, requestAdapter } from "../../src/platform/dawn.ts";
import { patiently } from "../../src/platform/patience.ts";

const KERNELS = new URL("../../src/kernels/", import.meta.url);

/** The pages as they lie in src/kernels. */
export const shaderSource: ShaderSource = (name) =>
  readFileSync(new URL(`${name}.wgsl`, KERNELS), "utf8");

/** The names of all pages, such as "matvec" and "formats/q4-k". */
export function shaderPages(): string[] {
  return readdirSync(KERNELS, { recursive: true })
    .map(String)
    .filter((path) => path.endsWith(".wgsl"))
    .map((path) => path.replaceAll("\\", "/").slice(0, -".wgsl".length))
    .sort();
}

export interface TestGpuOptions extends DeviceOptions {
  /** Dawn's null backend: it checks and compiles everything, computes nothing, and needs no driver. */
  readonly null?: boolean;
}

/** Opens a device. Where there is no adapter this throws the error that names `npm run setup`: nothing is skipped. */
export async function openDevice(options: TestGpuOptions = {}): Promise<Device> {
  const gpu = openGpu(options.null ? { flags: ["backend=null"] } : {});
  return Device.open(gpu, await requestAdapter(gpu), options, options.null ? undefined : patiently);
}

/**
 * The device of a test file, opened once: `const gpu = await useGpu()` at its top. At the end of the file it fails the
 * file if Dawn reported anything, and it is closed.
 */
export async function useGpu(options: TestGpuOptions = {}): Promise<TestGpu> {
  const device = await openDevice(options);
  afterAll(async () => {
    try {
      device.check();
    } finally {
      await device.close();
    }
    expect(device.memory).toEqual({ bytes: 0, buffers: 0 });
  });
  return new TestGpu(device, await ParamBlock.create(device, "params"));
}

/** Everything that a step may carry; a test states what it cares for. */
const STEP = {
  tokens: 1,
  start: 0,
  slots: 0,
  slots_per_split: 0,
  splits: 1,
  sinks: 0,
  window: 0xffffffff,
};

export class TestGpu {
  readonly device: Device;
  readonly library: KernelLibrary;
  readonly params: ParamBlock;
  /** As a plan for one token multiplies. */
  readonly single: Ops;
  /** As a plan for several tokens multiplies. */
  readonly several: Ops;

  constructor(device: Device, params: ParamBlock) {
    this.device = device;
    this.params = params;
    this.library = new KernelLibrary(device, shaderSource);
    this.single = new Ops(this.library, params, true);
    this.several = new Ops(this.library, params, false);
  }

  /** Compiles what is new, writes the parameters and runs the dispatches. */
  async run(dispatches: readonly Dispatch[], step: StepValues = {}): Promise<void> {
    await this.library.ready();
    const values = { ...STEP, ...step };
    this.params.write(values);
    run(this.device, dispatches, values);
  }

  /** A storage buffer that holds `data`. */
  async buffer(data: Float32Array | Uint32Array): Promise<GPUBuffer> {
    const usage = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;
    const buffer = await this.device.createBuffer("test", data.byteLength, usage);
    this.device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
    return buffer;
  }

  async readFloats(buffer: GPUBuffer): Promise<Float32Array> {
    return new Float32Array(await this.device.read(buffer));
  }

  /** Activations [rows, width], zero or filled with `values`; the padding of rows is zero. */
  async activations(rows: number, width: number, values?: ArrayLike<number>): Promise<Activations> {
    const made = await createActivations(this.device, "test", rows, width);
    if (values) {
      const padded = new Float32Array(rows * made.stride);
      for (let i = 0; i < rows * width; i++) {
        padded[Math.floor(i / width) * made.stride + (i % width)] = values[i]!;
      }
      this.device.queue.writeBuffer(made.buffer, 0, padded);
    }
    return made;
  }

  /** The numbers [rows, width] of activations; throws where a kernel has written into the padding of a row. */
  async readActivations({ buffer, rows, width, stride }: Activations): Promise<Float32Array> {
    const padded = await this.readFloats(buffer);
    const values = new Float32Array(rows * width);
    for (let r = 0; r < rows; r++) {
      values.set(padded.subarray(r * stride, r * stride + width), r * width);
      const padding = padded.subarray(r * stride + width, (r + 1) * stride);
      expect(padding, `padding of row ${r}`).toEqual(new Float32Array(stride - width));
    }
    return values;
  }

  /** A tensor [n, k] uploaded from the bytes of a file. */
  async weights(format: WeightFormat, n: number, k: number, file: Uint8Array): Promise<Weights> {
    expect(file.length).toBe(n * rowBytes(format, k));
    const weights = await createWeights(this.device, format.name, format, n, k);
    await uploadWeights(this.device, weights, async (at, into) => {
      into.set(file.subarray(at, at + into.length));
    });
    return weights;
  }

  /** An F32 vector [k], such as the weight of a norm. */
  vector(values: Float32Array): Promise<Weights> {
    return this.weights(F32, 1, values.length, new Uint8Array(values.slice().buffer));
  }

  /** Frees what a test has made. */
  release(...made: (GPUBuffer | Activations | Weights)[]): void {
    for (const thing of made) {
      if ("parts" in thing) {
        for (const part of thing.parts) this.device.release(part.bindings.matrix!.buffer);
      } else {
        this.device.release("buffer" in thing ? thing.buffer : thing);
      }
    }
  }
}
