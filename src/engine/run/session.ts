// Everything of an engine that lies on a GPU: it is lost together, and made again together.

import { CachePages } from "../../context/cache/cache-pages.ts";
import { KvCache } from "../../context/cache/kv-cache.ts";
import { createRope } from "../../context/positions/rope-scaling.ts";
import { type Adapter, readAdapter } from "../../kernels/adapter/adapter.ts";
import { Device, type Wait } from "../../kernels/gpu/device.ts";
import { KernelLibrary, type ShaderSource } from "../../kernels/gpu/kernel.ts";
import { Profiler } from "../../kernels/gpu/profiler.ts";
import { type Measurements, tuningOf } from "../../kernels/matrix/tuning.ts";
import type { GgufFile } from "../gguf/gguf.ts";
import type { ModelConfig } from "../model/config.ts";
import { readRopeDivisors } from "../model/rope-divisors.ts";
import { allocateWeights, type ModelWeights, uploadAll } from "../model/weights.ts";
import type { LoadProgress, ReadEngineOptions, Setting } from "../options.ts";
import { checkMemory, memoryPlan } from "./memory-plan.ts";
import { Runner } from "./runner.ts";

/** What the engine needs of the place it runs in: Node here, a browser elsewhere. */
export interface Platform {
  openGpu(): GPU;
  /** Throws a `UserError` that says how to get an adapter if there is none. */
  requestAdapter(gpu: GPU): Promise<GPUAdapter>;
  describeAdapter(adapter: GPUAdapter): string;
  /** How the work of an adapter is waited for. */
  waitFor(adapter: GPUAdapter): Wait;
  readonly shaders: ShaderSource;
  /** What was measured on this machine. */
  readonly measurements: Measurements;
  /** Why the driver cannot keep the kernels that it has compiled, and how to mend that: a warning, once a process. */
  cannotKeepKernels(adapter: GPUAdapter): string | undefined;
  /** Bytes that an adapter which allocates from the machine's own memory may take; undefined for a card, which tells by itself. */
  availableMemory(adapter: GPUAdapter): number | undefined;
}

/** A device with the weights, the cache and the prepared plans of a model on it. */
export class Session {
  readonly device: Device;
  /** One line about the adapter, and what kernels know of it. */
  readonly adapter: string;
  readonly facts: Adapter;
  /** Which pages are whose: the same after the device was lost and opened again. */
  readonly pages: CachePages;
  readonly runner: Runner;
  /** Bytes of the weights on the GPU, and of those that a step reads: all but the embeddings that it looks up. */
  readonly weightBytes: number;
  readonly stepBytes: number;
  /** Tells the content of its tensors from any other. */
  readonly content: string;
  /** The kernels of all plans, and the milliseconds that were waited for them when the weights were uploaded. */
  readonly compiled: { readonly kernels: number; readonly ms: number };

  private constructor(
    device: Device,
    adapter: string,
    facts: Adapter,
    pages: CachePages,
    runner: Runner,
    { bytes, output, tokenEmbd }: ModelWeights,
    content: string,
    compiled: Session["compiled"],
  ) {
    this.content = content;
    this.device = device;
    this.adapter = adapter;
    this.facts = facts;
    this.pages = pages;
    this.runner = runner;
    this.compiled = compiled;
    this.weightBytes = bytes;
    this.stepBytes = output === tokenEmbd ? bytes : bytes - tokenEmbd.bytes;
  }

  /**
   * Puts a model on the GPU; its kernels compile while the weights upload. If it fails nothing stays open or allocated.
   * The sequences of an earlier session go on with its pages, which are empty.
   */
  static async open(
    platform: Platform,
    file: GgufFile,
    config: ModelConfig,
    setting: Setting,
    options: ReadEngineOptions,
    given?: CachePages,
  ): Promise<Session> {
    const { onProgress = () => {}, onWarning = () => {} } = options;
    const progressOf = (phase: LoadProgress["phase"]) => (done: number, total: number) =>
      onProgress({ phase, done, total });
    const divisors = await readRopeDivisors(file, config);
    const rope = createRope({ ...setting.ropeModel, divisors }, setting.scaling);
    const gpu = platform.openGpu();
    const adapter = await platform.requestAdapter(gpu);
    const description = platform.describeAdapter(adapter);
    // At reopening what the lost device had is not given back yet.
    const available = given ? undefined : platform.availableMemory(adapter);
    if (available !== undefined) checkMemory(memoryPlan(file, config, setting), available);
    const { measurements, shaders } = platform;
    const open = (on: GPUAdapter) => Device.open(gpu, on, options.device, platform.waitFor(on));
    const another = async () => open(await platform.requestAdapter(gpu)); // an adapter opens one device only
    const device = await open(adapter);
    try {
      const tuning = await tuningOf(device, measurements, another, shaders, progressOf("adapter"));
      const facts = readAdapter(device, tuning);
      const library = new KernelLibrary(device, shaders);
      const weights = await allocateWeights(device, file, config, facts.placement);
      const { chunk, context, policy } = setting;
      const { groups, shape } = setting.cache;
      const { pageSize } = shape;
      const { movesBeyond } = rope;
      const caches: KvCache[] = [];
      for (const group of groups) {
        const options = { ...setting.cache, ...group, adapter: facts, rope, chunk };
        caches.push(await KvCache.create(device, options));
      }
      // After what an adapter may refuse: the lists of a cache that is far too large would take gigabytes.
      const pages =
        given ?? new CachePages({ groups, policy, context, pageSize, chunk, movesBeyond });
      const runner = await Runner.create(
        device,
        library,
        { adapter: facts, config, weights, caches, chunk },
        progressOf("kernels"),
      );
      if (options.onProfile) runner.profiler = new Profiler(device);
      const tensors = await uploadAll(device, file, weights, progressOf("weights"));
      const began = performance.now();
      const kernels = await runner.compile();
      const compiled = { kernels, ms: performance.now() - began };
      device.check();
      const forgets = platform.cannotKeepKernels(adapter);
      if (forgets !== undefined) onWarning(forgets);
      const content = JSON.stringify([tensors, divisors]);
      return new Session(device, description, facts, pages, runner, weights, content, compiled);
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
