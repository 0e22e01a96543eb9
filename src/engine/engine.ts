// A model, loaded: text in, text out. Owns the device and everything on it.

import type { AttentionPolicy } from "../context/attention-policy.ts";
import { KvCache } from "../context/cache/kv-cache.ts";
import type { PageTable } from "../context/cache/page-table.ts";
import { createRope } from "../context/rope-scaling.ts";
import { Device, type Wait } from "../kernels/device.ts";
import { UserError } from "../kernels/errors.ts";
import { KernelLibrary, type ShaderSource } from "../kernels/kernel.ts";
import type { PhaseProfile } from "../kernels/profiler.ts";
import type { AttentionProbe, AttentionRow } from "./attention-probe.ts";
import { type AttentionRowsOptions, attentionRows } from "./attention-rows.ts";
import type { ModelConfig } from "./config.ts";
import { type GenerateOptions, type GenerationResult, generate, type Piece } from "./generation.ts";
import { type GreedyStep, greedyTokens, stepsAhead } from "./greedy.ts";
import type { ModelFile } from "./inspect.ts";
import type { LoadedModel } from "./model-state.ts";
import { type EngineOptions, resolveSetting, type Setting } from "./options.ts";
import { Runner } from "./runner.ts";
import type { TokenLogprob } from "./sampler/sampler.ts";
import { type Score, score } from "./score.ts";
import type { DecodeOptions, EncodeOptions, Tokenizer } from "./tokenizer/tokenizer.ts";
import { allocateWeights, readRopeDivisors, uploadAll } from "./weights.ts";

/** What the engine needs of the place it runs in: Node here, a browser elsewhere. */
export interface Platform {
  openGpu(): GPU;
  /** Throws a `UserError` that says how to get an adapter where there is none. */
  requestAdapter(gpu: GPU): Promise<GPUAdapter>;
  describeAdapter(adapter: GPUAdapter): string;
  /** How the work of an adapter is waited for. */
  waitFor(adapter: GPUAdapter): Wait;
  readonly shaders: ShaderSource;
}

interface Parts {
  readonly device: Device;
  readonly adapter: string;
  readonly config: ModelConfig;
  readonly setting: Setting;
  readonly tokenizer: Tokenizer;
  readonly cache: KvCache;
  readonly runner: Runner;
  readonly weightBytes: number;
  readonly loadMs: number;
}

export class Engine implements LoadedModel, AsyncDisposable {
  readonly config: ModelConfig;
  readonly setting: Setting;
  readonly tokenizer: Tokenizer;
  /** One line about the adapter. */
  readonly adapter: string;
  /** Milliseconds from the call of `load` to the first possible token. */
  readonly loadMs: number;
  /** Bytes of the weights on the GPU. */
  readonly weightBytes: number;
  readonly #device: Device;
  readonly #cache: KvCache;
  readonly #runner: Runner;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(parts: Parts) {
    this.config = parts.config;
    this.setting = parts.setting;
    this.tokenizer = parts.tokenizer;
    this.adapter = parts.adapter;
    this.loadMs = parts.loadMs;
    this.weightBytes = parts.weightBytes;
    this.#device = parts.device;
    this.#cache = parts.cache;
    this.#runner = parts.runner;
  }

  /**
   * Puts an opened model on the GPU and closes its file. Throws a `UserError` for what is wrong with the file, the
   * options or the machine; nothing stays open or allocated then.
   */
  static async open(
    platform: Platform,
    model: ModelFile,
    options: EngineOptions = {},
  ): Promise<Engine> {
    try {
      return await Engine.#load(platform, model, options);
    } finally {
      await model.file.close();
    }
  }

  static async #load(
    platform: Platform,
    model: ModelFile,
    options: EngineOptions,
  ): Promise<Engine> {
    const began = performance.now() - model.openMs;
    const { file, config, tokenizer } = model;
    const { onProgress = () => {}, onWarning = () => {} } = options;
    const setting = resolveSetting(config, options);
    for (const warning of [...tokenizer.vocabulary.warnings, ...setting.warnings])
      onWarning(warning);
    const divisors = await readRopeDivisors(file, config);
    const rope = createRope({ ...setting.ropeModel, divisors }, setting.scaling);

    const gpu = platform.openGpu();
    const adapter = await platform.requestAdapter(gpu);
    const description = platform.describeAdapter(adapter);
    const device = await Device.open(gpu, adapter, options.device, platform.waitFor(adapter));
    try {
      const library = new KernelLibrary(device, platform.shaders);
      const weights = await allocateWeights(device, file, config);
      const cache = await KvCache.create(device, { ...setting.cache, rope });
      const runner = await Runner.create(device, library, {
        config,
        weights,
        cache,
        chunk: setting.chunk,
        profile: options.profile ?? false,
      });
      // The kernels compile while the weights upload.
      const ready = library.ready();
      ready.catch(() => {});
      await uploadAll(device, file, weights, (done, total) => onProgress({ done, total }));
      await ready;
      return new Engine({
        device,
        adapter: description,
        config,
        setting,
        tokenizer,
        cache,
        runner,
        weightBytes: weights.bytes,
        loadMs: performance.now() - began,
      });
    } catch (error) {
      await device.close();
      throw error;
    }
  }

  /** The ids of a text, with BOS and EOS as the file says. */
  tokenize(text: string, options?: EncodeOptions): number[] {
    return this.tokenizer.encode(text, options);
  }

  detokenize(ids: Iterable<number>, options?: DecodeOptions): string {
    return this.tokenizer.decode(ids, options);
  }

  /**
   * Continues a prompt, a text or token ids, piece by piece. The generator's return value has the whole text, the
   * reason it ended, counts and timings. Leaving the loop early frees everything that the text held.
   */
  generate(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): AsyncGenerator<Piece, GenerationResult, void> {
    return generate(this, prompt, options);
  }

  /** Continues a prompt and waits for the end. */
  async complete(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): Promise<GenerationResult> {
    const generation = this.generate(prompt, options);
    for (;;) {
      const { done, value } = await generation.next();
      if (done) return value;
    }
  }

  /**
   * How well the model predicts given ids, position by position. `onRow` gets the logits [V] after each token, in
   * order; the array is reused.
   */
  score(
    ids: readonly number[],
    onRow?: (position: number, logits: Float32Array) => void | Promise<void>,
  ): Promise<Score> {
    return score(this, ids, onRow);
  }

  /**
   * What each token of a text attends to in one layer, out of the cache as it is at that step. A chunk of 1 shows every
   * eviction where a stream would have it.
   */
  attention(
    prompt: string | readonly number[],
    options: AttentionRowsOptions,
  ): AsyncGenerator<AttentionRow, void, void> {
    const ids = typeof prompt === "string" ? this.tokenize(prompt) : prompt;
    return attentionRows(this, ids, options);
  }

  /** What reads the attention weights of a layer out of a step. */
  probe(layer: number): Promise<AttentionProbe> {
    return this.#runner.probe(layer);
  }

  sequence(policy?: AttentionPolicy): PageTable {
    return this.#cache.sequence(policy);
  }

  stepLimit(sequence: PageTable): number {
    return this.#cache.stepLimit(sequence);
  }

  greedy(
    sequence: PageTable,
    first: number,
    budget: number,
  ): AsyncGenerator<TokenLogprob, void, void> {
    const step: GreedyStep = (run, token) => this.#inTurn(() => this.#runner.greedy(run, token));
    return greedyTokens(step, sequence, first, budget, stepsAhead(this.#device));
  }

  step(
    sequence: PageTable,
    tokens: readonly number[],
    wanted: number,
    probe?: AttentionProbe,
  ): Promise<Float32Array> {
    return this.#inTurn(() => this.#runner.step(sequence, Uint32Array.from(tokens), wanted, probe));
  }

  /** One after the other, in the order of the calls. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new UserError("The engine is closed: load it again."));
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  /** Bytes and buffers alive on the GPU, pages of the cache in use, host milliseconds spent on steps. */
  get usage(): {
    readonly bytes: number;
    readonly buffers: number;
    readonly pages: number;
    readonly hostMs: number;
    readonly dispatches: number;
  } {
    const { pool } = this.#cache;
    const { hostMs, dispatches } = this.#runner;
    return { ...this.#device.memory, pages: pool.size - pool.free, hostMs, dispatches };
  }

  /**
   * Where the GPU's time has gone since the last report, by phase ("prefill": steps of several tokens; "decode": of one) and
   * kernel; undefined unless the engine was loaded with `profile`.
   */
  async profile(): Promise<readonly PhaseProfile[] | undefined> {
    return this.#runner.profiler?.report();
  }

  /** Frees the device and everything on it, after the steps that are on their way. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
    await this.#runner.settled();
    await this.#device.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
