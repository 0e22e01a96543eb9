// The GPU as the rest of the engine sees it: capabilities, owned buffers, and errors as exceptions.
// In this room: the wrapping of WebGPU, compiled kernels, parameters, commands and their times. It
// imports no other room, and knows no operation and no kind of adapter (adapter/adapter.ts).

import { UserError } from "../../errors.ts";
import { MAP_READ_MODE, TEXTURE_USAGE, USAGE } from "./usage-flags.ts";

/** The GPU, or one of its limits, has no room for a buffer. */
export class CapacityError extends UserError {
  override readonly name = "CapacityError";
}

/** Dawn reported an error outside of any call. */
export class GpuError extends Error {
  override readonly name: string = "GpuError";
}

/** The device is lost, with everything on it. */
export class DeviceLostError extends GpuError {
  override readonly name = "DeviceLostError";
}

export type Feature = "shader-f16" | "subgroups" | "timestamp-query" | typeof SUBGROUP_MATRIX;

/** Dawn's name of the feature of subgroup matrices, which is in no standard yet. */
export const SUBGROUP_MATRIX = "chromium-experimental-subgroup-matrix";

/** A multiplication of subgroup matrices, [M, K] by [K, N], as Dawn lists those of an adapter. */
export interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

export interface DeviceOptions {
  /** Features to leave unused although the adapter has them. */
  readonly refuse?: readonly Feature[];
  /** Limits lower than the adapter's, such as `{ maxStorageBufferBindingSize: 1 << 20 }`. */
  readonly limits?: Readonly<Partial<Record<LimitName, number>>>;
}

/** Starts an operation and waits for it, in the way that suits the platform and the adapter. */
export type Wait = <T>(start: () => Promise<T>) => Promise<T>;

/** The limits that the engine asks for and works within. */
export const LIMITS = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension",
] as const;

export type LimitName = (typeof LIMITS)[number];
export type Limits = Readonly<Record<LimitName, number>>;

export const FEATURES: readonly Feature[] = [
  "shader-f16",
  "subgroups",
  "timestamp-query",
  SUBGROUP_MATRIX,
];

/** WebGPU's own minimum, good for every adapter. */
export const BINDING_ALIGNMENT = 256;

/** The size of a buffer for this many bytes: whole words, and no less than the smallest uniform. */
export function bufferBytes(bytes: number): number {
  return Math.max(16, Math.ceil(bytes / 4) * 4);
}

/**
 * An open device. It owns every buffer that it creates: `close()` frees them all. It also holds the
 * `GPU` object that the adapter came from, since Dawn's event loop crashes the process once that
 * object is collected.
 */
export class Device implements AsyncDisposable {
  readonly gpu: GPU;
  readonly handle: GPUDevice;
  readonly info: GPUAdapterInfo;
  readonly features: ReadonlySet<Feature>;
  readonly limits: Limits;
  readonly #wait: Wait;
  /** The buffers and textures alive, with their bytes. */
  readonly #memory = new Map<GPUBuffer | GPUTexture, number>();
  #bytes = 0;
  #failure: GpuError | undefined;
  #lost: DeviceLostError | undefined;
  #closed = false;
  readonly #onUncaptured = (event: GPUUncapturedErrorEvent): void => {
    // By default Dawn only prints the error, and the process would end with status 0.
    event.preventDefault();
    this.#failure ??= new GpuError(event.error.message);
  };

  private constructor(
    gpu: GPU,
    handle: GPUDevice,
    info: GPUAdapterInfo,
    limits: Limits,
    wait: Wait,
  ) {
    this.gpu = gpu;
    this.#wait = wait;
    this.handle = handle;
    this.info = info;
    const granted: ReadonlySet<string> = handle.features;
    this.features = new Set(FEATURES.filter((feature) => granted.has(feature)));
    this.limits = limits;
    handle.addEventListener("uncapturederror", this.#onUncaptured);
    void handle.lost.then(({ reason, message }) => {
      if (this.#closed) return;
      const why = [reason, message].filter(Boolean).join(": ");
      this.#lost = new DeviceLostError(`The GPU device was lost (${why}).`);
    });
  }

  /** `wait` waits for the device's work; default: await Dawn's promise. */
  static async open(
    gpu: GPU,
    adapter: GPUAdapter,
    options: DeviceOptions = {},
    wait: Wait = (start) => start(),
  ): Promise<Device> {
    const requiredLimits = Object.fromEntries(
      LIMITS.map((name) => [
        name,
        Math.min(adapter.limits[name], options.limits?.[name] ?? Number.POSITIVE_INFINITY),
      ]),
    ) as Record<LimitName, number>;
    const refused = new Set<string>(options.refuse);
    // Dawn also grants the features that a feature depends on.
    if (refused.has("subgroups") || refused.has("shader-f16")) refused.add(SUBGROUP_MATRIX);
    const requiredFeatures = (FEATURES as readonly GPUFeatureName[]).filter(
      (feature) => adapter.features.has(feature) && !refused.has(feature),
    );
    const handle = await adapter.requestDevice({
      label: "dawnstream",
      requiredFeatures,
      requiredLimits,
    });
    // A device may grant more than was requested; the engine keeps to the requested limits.
    return new Device(gpu, handle, adapter.info, requiredLimits, wait);
  }

  get queue(): GPUQueue {
    return this.handle.queue;
  }

  /** The optional features of its shading language. */
  get languageFeatures(): ReadonlySet<string> {
    return this.gpu.wgslLanguageFeatures;
  }

  /** The subgroup matrices of the adapter. */
  get matrixConfigs(): readonly MatrixConfig[] {
    const info: GPUAdapterInfo & { subgroupMatrixConfigs?: Iterable<MatrixConfig> } = this.info;
    return this.features.has(SUBGROUP_MATRIX) ? [...(info.subgroupMatrixConfigs ?? [])] : [];
  }

  /** Bytes and number of the buffers and textures alive. */
  get memory(): { readonly bytes: number; readonly buffers: number } {
    return { bytes: this.#bytes, buffers: this.#memory.size };
  }

  /** Waits for the work submitted so far. */
  async done(): Promise<void> {
    await this.#wait(() => this.queue.onSubmittedWorkDone());
  }

  /**
   * Waits for the work submitted so far, and maps the first `bytes` bytes of a buffer for reading.
   */
  async map(buffer: GPUBuffer, bytes: number = buffer.size): Promise<ArrayBuffer> {
    try {
      await this.#wait(() => buffer.mapAsync(MAP_READ_MODE, 0, bytes));
    } catch (error) {
      if (this.#closed)
        throw new GpuError(`The GPU device was closed before ${buffer.label} was read.`);
      throw await this.#whyNot(error);
    }
    this.check();
    return buffer.getMappedRange(0, bytes);
  }

  compile(descriptor: GPUComputePipelineDescriptor): Promise<GPUComputePipeline> {
    return this.#wait(() => this.handle.createComputePipelineAsync(descriptor));
  }

  /** Whether the device was lost, other than by `close()`. */
  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** Throws what Dawn reported since the device was opened, if anything. */
  check(): void {
    if (this.#lost) throw this.#lost; // later errors follow from the loss
    if (this.#failure) throw this.#failure;
  }

  /** The error to throw after a wait has failed: a loss may be reported a moment later. */
  async #whyNot(error: unknown): Promise<unknown> {
    await Promise.race([this.handle.lost, new Promise((resolve) => setTimeout(resolve, 50))]);
    return this.#lost ?? this.#failure ?? error;
  }

  /**
   * A buffer of at least `bytes` bytes, zeroed. Throws a `CapacityError` with the buffer's name and
   * size if it exceeds a limit or the memory.
   */
  async createBuffer(label: string, bytes: number, usage: GPUBufferUsageFlags): Promise<GPUBuffer> {
    const size = bufferBytes(bytes);
    if (size > this.limits.maxBufferSize) {
      throw new CapacityError(
        `Cannot allocate ${label}: ${size} bytes, where this adapter allows ${this.limits.maxBufferSize} a buffer.`,
      );
    }
    return this.#create(label, size, () => this.handle.createBuffer({ label, size, usage }));
  }

  /**
   * A texture of [width, height] texels, `bytes` in all, zeroed, which shaders read as storage.
   * Throws as `createBuffer` does.
   */
  createTexture(
    label: string,
    size: readonly [number, number],
    format: GPUTextureFormat,
    bytes: number,
  ): Promise<GPUTexture> {
    const usage = TEXTURE_USAGE;
    return this.#create(label, bytes, () =>
      this.handle.createTexture({ label, size, format, usage }),
    );
  }

  async #create<T extends GPUBuffer | GPUTexture>(
    label: string,
    bytes: number,
    create: () => T,
  ): Promise<T> {
    this.handle.pushErrorScope("out-of-memory");
    this.handle.pushErrorScope("validation");
    const created = create();
    const invalid = this.handle.popErrorScope();
    const full = this.handle.popErrorScope();
    let error: GPUError | null;
    try {
      error = (await full) ?? (await invalid);
    } catch (failure) {
      throw await this.#whyNot(failure);
    }
    if (this.#closed) throw new GpuError(`The GPU device was closed before ${label} was made.`);
    if (error) {
      created.destroy();
      const held = `${this.#bytes} bytes are in use by ${this.#memory.size} buffers and textures`;
      throw new CapacityError(
        `Out of GPU memory: cannot allocate ${label}, ${bytes} bytes; ${held}.`,
      );
    }
    this.#memory.set(created, bytes);
    this.#bytes += bytes;
    return created;
  }

  /** Frees a buffer or a texture early. */
  release(memory: GPUBuffer | GPUTexture): void {
    this.#bytes -= this.#memory.get(memory) ?? 0;
    if (this.#memory.delete(memory)) memory.destroy();
  }

  /**
   * The bytes [offset, offset + size) of a buffer that was made with COPY_SRC. Throws as
   * `createBuffer` does.
   */
  async read(
    buffer: GPUBuffer,
    offset = 0,
    size: number = buffer.size - offset,
  ): Promise<ArrayBuffer> {
    return this.gather(buffer, [{ offset, size }]);
  }

  /** Pieces of a buffer, in bytes, one after the other. Throws as `createBuffer` does. */
  async gather(
    buffer: GPUBuffer,
    pieces: readonly { readonly offset: number; readonly size: number }[],
  ): Promise<ArrayBuffer> {
    const size = pieces.reduce((sum, piece) => sum + piece.size, 0);
    const usage = USAGE.COPY_DST | USAGE.MAP_READ;
    const staging = await this.createBuffer(`${buffer.label} (read back)`, size, usage);
    const encoder = this.handle.createCommandEncoder();
    let at = 0;
    for (const piece of pieces) {
      encoder.copyBufferToBuffer(buffer, piece.offset, staging, at, piece.size);
      at += piece.size;
    }
    this.queue.submit([encoder.finish()]);
    try {
      return (await this.map(staging, size)).slice(0);
    } finally {
      this.release(staging);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const memory of this.#memory.keys()) memory.destroy();
    this.#memory.clear();
    this.#bytes = 0;
    this.handle.destroy();
    await this.handle.lost;
    // Dawn's binding keeps a device that has a listener alive, and with it threads of its driver.
    this.handle.removeEventListener("uncapturederror", this.#onUncaptured);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
