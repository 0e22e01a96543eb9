// Everything of an engine that lies on a GPU. All of it is lost with the device, and made anew
// together.

import { CachePages } from "../../context/cache/cache-pages.ts";
import { KvCache } from "../../context/cache/kv-cache.ts";
import { createRope, NO_ROPE } from "../../context/positions/rope-scaling.ts";
import { type Adapter, readAdapter } from "../../kernels/adapter/adapter.ts";
import { Device, type Wait } from "../../kernels/gpu/device.ts";
import { KernelLibrary, type ShaderSource } from "../../kernels/gpu/kernel.ts";
import { Profiler } from "../../kernels/gpu/profiler.ts";
import { type Measurements, tuningOf } from "../../kernels/matrix/tuning.ts";
import type { GgufFile } from "../gguf/gguf.ts";
import type { ByteSource } from "../gguf/source.ts";
import type { ModelConfig } from "../model/config.ts";
import { readRopeDivisors } from "../model/rope-divisors.ts";
import { allocateWeights, type ModelWeights, uploadAll } from "../model/weights.ts";
import type { LoadProgress, ReadEngineOptions, Setting } from "../options.ts";
import { checkMemory, memoryPlan } from "./memory-plan.ts";
import { Runner } from "./runner.ts";

/** A file that is written whole or not at all. */
export interface FileToWrite {
  write(bytes: Uint8Array): Promise<void>;
  /** Puts it in the place of the old one. */
  commit(): Promise<void>;
  /** Leaves the old one. */
  discard(): Promise<void>;
}

/** What the engine needs from its platform: Node, or a browser. */
export interface Platform {
  openGpu(): GPU;
  /** Sessions are read from and written to files. */
  openFile(path: string): Promise<ByteSource>;
  createFile(path: string): Promise<FileToWrite>;
  /** Throws a `UserError` that says how to get an adapter if there is none. */
  requestAdapter(gpu: GPU): Promise<GPUAdapter>;
  describeAdapter(adapter: GPUAdapter): string;
  /** How to wait for the work of an adapter. */
  waitFor(adapter: GPUAdapter): Wait;
  readonly shaders: ShaderSource;
  /** Figures that were measured on this machine. */
  readonly measurements: Measurements;
  /**
   * A warning, once a process, if the driver cannot cache compiled kernels: why, and how to fix it.
   */
  cannotKeepKernels(adapter: GPUAdapter): string | undefined;
  /**
   * Bytes that a software adapter may take of the machine's memory; undefined for a card, which
   * reports out-of-memory itself.
   */
  availableMemory(adapter: GPUAdapter): number | undefined;
}

/** A device with the weights, the cache and the prepared plans of a model on it. */
export class Session {
  readonly device: Device;
  /** One line that describes the adapter. */
  readonly adapter: string;
  readonly facts: Adapter;
  /** Which sequence has which pages. It outlives a lost device. */
  readonly pages: CachePages;
  readonly runner: Runner;
  /** The buffers of the pages: one for each cache group. */
  readonly caches: readonly KvCache[];
  /**
   * Bytes of the weights on the GPU, and of those that a step reads: all but the embeddings that it
   * looks up.
   */
  readonly weightBytes: number;
  readonly stepBytes: number;
  /** Identifies the content of the tensors. */
  readonly content: string;
  /**
   * The number of kernels of all plans, and the milliseconds waited for them after the weights were
   * uploaded.
   */
  readonly compiled: { readonly kernels: number; readonly ms: number };

  private constructor(
    device: Device,
    adapter: string,
    facts: Adapter,
    { pages, runner, caches }: Pick<Session, "pages" | "runner" | "caches">,
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
    this.caches = caches;
    this.compiled = compiled;
    this.weightBytes = bytes;
    this.stepBytes = output === tokenEmbd ? bytes : bytes - tokenEmbd.bytes;
  }

  /**
   * Puts a model on the GPU; its kernels compile while the weights upload. If it fails, nothing
   * stays open or allocated. `given` are the pages of a lost session, whose sequences continue in
   * this one.
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
    const ropes = setting.cache.groups.map(({ rope }) =>
      rope ? createRope({ ...rope.model, divisors }, rope.scaling) : NO_ROPE,
    );
    const gpu = platform.openGpu();
    const adapter = await platform.requestAdapter(gpu);
    const description = platform.describeAdapter(adapter);
    // After a device loss, the memory of the lost device may not be freed yet: do not check again.
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
      const { groups, shape, prefixes } = setting.cache;
      const { pageSize } = shape;
      const movesBeyond = Math.min(...ropes.map((rope) => rope.movesBeyond));
      const caches: KvCache[] = [];
      for (const [i, group] of groups.entries()) {
        const rope = ropes[i]!;
        const options = { ...setting.cache, ...group, adapter: facts, rope, chunk };
        caches.push(await KvCache.create(device, options));
      }
      // Make these lists after the buffers: for a cache that no adapter can allocate they would
      // take gigabytes.
      const pages =
        given ??
        new CachePages({ groups, policy, context, pageSize, chunk, movesBeyond, prefixes });
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
      const held = { pages, runner, caches };
      return new Session(device, description, facts, held, weights, content, compiled);
    } catch (error) {
      await device.close();
      throw error;
    }
  }

  /** Waits for choices in flight, then frees the device and everything on it. */
  async close(): Promise<void> {
    await this.runner.settled();
    await this.device.close();
  }
}
