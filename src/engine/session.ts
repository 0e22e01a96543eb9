// Everything of an engine that lies on a GPU: it is lost together, and made again together.

import { KvCache } from "../context/cache/kv-cache.ts";
import type { PagePool } from "../context/cache/page-pool.ts";
import { createRope } from "../context/rope-scaling.ts";
import { Device, type Wait } from "../kernels/device.ts";
import { KernelLibrary, type ShaderSource } from "../kernels/kernel.ts";
import { Profiler } from "../kernels/profiler.ts";
import { type Memory, tuningOf } from "../kernels/tuning.ts";
import type { ModelConfig } from "./config.ts";
import type { GgufFile } from "./gguf/gguf.ts";
import type { EngineOptions, Setting } from "./options.ts";
import { readRopeDivisors } from "./rope-divisors.ts";
import { Runner } from "./runner.ts";
import { allocateWeights, type ModelWeights, uploadAll } from "./weights.ts";

/** What the engine needs of the place it runs in: Node here, a browser elsewhere. */
export interface Platform {
  openGpu(): GPU;
  /** Throws a `UserError` that says how to get an adapter where there is none. */
  requestAdapter(gpu: GPU): Promise<GPUAdapter>;
  describeAdapter(adapter: GPUAdapter): string;
  /** How the work of an adapter is waited for. */
  waitFor(adapter: GPUAdapter): Wait;
  readonly shaders: ShaderSource;
  /** What was measured on this machine. */
  readonly memory: Memory;
}

/** A device with the weights, the cache and the prepared plans of a model on it. */
export class Session {
  readonly device: Device;
  /** One line about the adapter. */
  readonly adapter: string;
  readonly cache: KvCache;
  readonly runner: Runner;
  /** Bytes of the weights on the GPU, and of those that a step reads: all but the embeddings that it looks up. */
  readonly weightBytes: number;
  readonly stepBytes: number;
  /** Tells the content of its tensors from any other. */
  readonly content: string;

  private constructor(
    device: Device,
    adapter: string,
    cache: KvCache,
    runner: Runner,
    { bytes, output, tokenEmbd }: ModelWeights,
    content: string,
  ) {
    this.content = content;
    this.device = device;
    this.adapter = adapter;
    this.cache = cache;
    this.runner = runner;
    this.weightBytes = bytes;
    this.stepBytes = output === tokenEmbd ? bytes : bytes - tokenEmbd.bytes;
  }

  /**
   * Puts a model on the GPU; its kernels compile while the weights upload. Where it fails nothing stays open or allocated.
   * The sequences of an earlier session go on with its pool, their pages being empty.
   */
  static async open(
    platform: Platform,
    file: GgufFile,
    config: ModelConfig,
    setting: Setting,
    options: EngineOptions,
    pool?: PagePool,
  ): Promise<Session> {
    const { onProgress = () => {} } = options;
    const divisors = await readRopeDivisors(file, config);
    const rope = createRope({ ...setting.ropeModel, divisors }, setting.scaling);
    const gpu = platform.openGpu();
    const adapter = await platform.requestAdapter(gpu);
    const description = platform.describeAdapter(adapter);
    const { memory, shaders } = platform;
    const open = (on: GPUAdapter) => Device.open(gpu, on, options.device, platform.waitFor(on));
    const another = async () => open(await platform.requestAdapter(gpu)); // an adapter opens one device only
    const device = await open(adapter);
    try {
      const tuning = await tuningOf(device, memory, another, shaders);
      const library = new KernelLibrary(device, shaders, tuning);
      const weights = await allocateWeights(device, file, config);
      const cache = await KvCache.create(device, { ...setting.cache, rope }, pool);
      const { chunk } = setting;
      const runner = await Runner.create(device, library, { config, weights, cache, chunk });
      if (options.onProfile) runner.profiler = new Profiler(device);
      const ready = library.ready();
      ready.catch(() => {});
      const tensors = await uploadAll(device, file, weights, (done, total) =>
        onProgress({ done, total }),
      );
      await ready;
      device.check();
      const content = JSON.stringify([tensors, divisors]);
      return new Session(device, description, cache, runner, weights, content);
    } catch (error) {
      await device.close();
      throw error;
    }
  }

  /** Frees the device and everything on it, when nothing is on its way from it. */
  async close(): Promise<void> {
    await this.runner.settled();
    await this.device.close();
  }
}
