// A device with the kernels on it, and the small steps around a kernel: fill, run, read back.

import {
  type Adapter,
  type Placement,
  readAdapter,
  type Tuning,
} from "../../kernels/adapter/adapter.ts";
import { type Target, targetOf } from "../../kernels/adapter/target.ts";
import { type Activations, createActivations } from "../../kernels/gpu/activations.ts";
import { type Dispatch, run } from "../../kernels/gpu/commands.ts";
import type { Device } from "../../kernels/gpu/device.ts";
import { KernelError, KernelLibrary, type ShaderSource } from "../../kernels/gpu/kernel.ts";
import { ParamBlock, type StepValues } from "../../kernels/gpu/params.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import { F32 } from "../../kernels/weights/formats/f32.ts";
import type { WeightFormat } from "../../kernels/weights/formats/format.ts";
import { createWeights, memoryOf, type Weights } from "../../kernels/weights/tensor.ts";
import { uploadWeights } from "../../kernels/weights/upload.ts";

/** Everything that a step may carry; what runs a kernel states what matters to it. */
const STEP: Required<StepValues> = {
  tokens: 1,
  short_items: 1,
  long_items: 1,
  short_tokens: 1,
  merges: 1,
  steps: 0,
  temperature: 0,
  seed_low: 0,
  seed_high: 0,
  position: 0,
  keep: 1,
};

export class Workbench {
  readonly device: Device;
  readonly adapter: Adapter;
  readonly library: KernelLibrary;
  readonly params: ParamBlock;
  /** As a plan for one token multiplies. */
  readonly one: Target;
  /** As a plan for several tokens multiplies. */
  readonly several: Target;

  constructor(adapter: Adapter, params: ParamBlock, library: KernelLibrary) {
    this.device = library.device;
    this.adapter = adapter;
    this.params = params;
    this.library = library;
    this.one = targetOf(this, "one");
    this.several = targetOf(this, "several");
  }

  static async create(
    device: Device,
    shaders: ShaderSource,
    tuning?: Partial<Tuning>,
  ): Promise<Workbench> {
    const params = await ParamBlock.create(device, "params");
    return new Workbench(readAdapter(device, tuning), params, new KernelLibrary(device, shaders));
  }

  /** Compiles what is new and writes the parameters. Returns all values of the step. */
  async prepare(step: Partial<StepValues> = {}): Promise<StepValues> {
    await this.library.ready();
    const values = { ...STEP, ...step };
    this.params.write(values);
    return values;
  }

  /** Prepares dispatches and runs them. Returns all values of the step. */
  async run(dispatches: readonly Dispatch[], step: Partial<StepValues> = {}): Promise<StepValues> {
    const values = await this.prepare(step);
    run(this.device, dispatches, values);
    return values;
  }

  /** A storage buffer that holds `data`. */
  async buffer(data: Float32Array | Uint32Array): Promise<GPUBuffer> {
    const usage = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;
    const buffer = await this.device.createBuffer("buffer", data.byteLength, usage);
    this.device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
    return buffer;
  }

  async readFloats(buffer: GPUBuffer): Promise<Float32Array> {
    return new Float32Array(await this.device.read(buffer));
  }

  /** Activations [rows, width], zero or filled with `values`; the padding of rows is zero. */
  async activations(rows: number, width: number, values?: ArrayLike<number>): Promise<Activations> {
    const made = await createActivations(this.device, "activations", rows, width);
    if (values) {
      const padded = new Float32Array(rows * made.stride);
      for (let i = 0; i < rows * width; i++) {
        padded[Math.floor(i / width) * made.stride + (i % width)] = values[i]!;
      }
      this.device.queue.writeBuffer(made.buffer, 0, padded);
    }
    return made;
  }

  /**
   * The numbers [rows, width] of activations; throws where a kernel has written into the padding of
   * a row.
   */
  async readActivations({ buffer, rows, width, stride }: Activations): Promise<Float32Array> {
    const padded = await this.readFloats(buffer);
    const values = new Float32Array(rows * width);
    for (let r = 0; r < rows; r++) {
      values.set(padded.subarray(r * stride, r * stride + width), r * width);
      const padding = padded.subarray(r * stride + width, (r + 1) * stride);
      if (padding.some((value) => value !== 0)) {
        throw new KernelError(`The padding of row ${r} is not zero any more.`);
      }
    }
    return values;
  }

  /**
   * A tensor [n, k] uploaded from the bytes of a file; by default placed as the engine would place
   * it.
   */
  async weights(
    format: WeightFormat,
    n: number,
    k: number,
    file: Uint8Array,
    placement: Placement = this.adapter.placement,
  ): Promise<Weights> {
    const weights = await createWeights(this.device, {
      label: format.name,
      format,
      n,
      k,
      placement,
    });
    await uploadWeights(this.device, weights, async (at, into) => {
      into.set(file.subarray(at, at + into.length));
    });
    return weights;
  }

  /** The same weights in buffers of their own. */
  async copyOf({ label, n, k, parts }: Weights): Promise<Weights> {
    const { format, placement } = parts[0]!;
    const copy = await createWeights(this.device, { label, format, n, k, placement });
    const encoder = this.device.handle.createCommandEncoder();
    parts.forEach((part, i) => {
      const copied = memoryOf(copy.parts[i]!);
      for (const [j, from] of memoryOf(part).entries()) {
        const to = copied[j]!;
        if ("size" in from) encoder.copyBufferToBuffer(from, 0, to as GPUBuffer, 0, from.size);
        else {
          const size = [from.width, from.height];
          encoder.copyTextureToTexture({ texture: from }, { texture: to as GPUTexture }, size);
        }
      }
    });
    this.device.queue.submit([encoder.finish()]);
    return copy;
  }

  /** An F32 vector [k], such as the weight of a norm. */
  vector(values: Float32Array): Promise<Weights> {
    return this.weights(F32, 1, values.length, new Uint8Array(values.slice().buffer));
  }

  /** Frees what was made. */
  release(...made: (GPUBuffer | Activations | Weights)[]): void {
    for (const thing of made) {
      const held =
        "parts" in thing
          ? thing.parts.flatMap(memoryOf)
          : ["buffer" in thing ? thing.buffer : thing];
      for (const memory of held) this.device.release(memory);
    }
  }
}
