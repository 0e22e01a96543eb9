// A model, loaded: text in, text out.

import type { AttentionPolicy } from "../context/attention-policy.ts";
import type { PagePool } from "../context/cache/page-pool.ts";
import type { PageTable } from "../context/cache/page-table.ts";
import { DeviceLostError } from "../kernels/device.ts";
import { UserError } from "../kernels/errors.ts";
import { type PhaseProfile, Profiler } from "../kernels/profiler.ts";
import type { AttentionProbe, AttentionRow } from "./attention-probe.ts";
import { type AttentionRowsOptions, attentionRows } from "./attention-rows.ts";
import type { ModelConfig } from "./config.ts";
import { type EmbedOptions, embed } from "./embedding.ts";
import { fingerprint } from "./fingerprint.ts";
import { type GenerateOptions, type GenerationResult, generate, type Piece } from "./generation.ts";
import type { GgufFile } from "./gguf/gguf.ts";
import type { ModelFile } from "./inspect.ts";
import type { LoadedModel } from "./model-state.ts";
import { type EngineOptions, resolveSetting, type Setting } from "./options.ts";
import { Recovery } from "./recovery.ts";
import type { Draw, TokenLogprob, TopLogits } from "./sampler/sampler.ts";
import { type Score, score } from "./score.ts";
import { type Platform, Session } from "./session.ts";
import type { DecodeOptions, EncodeOptions, Tokenizer } from "./tokenizer/tokenizer.ts";

export class Engine implements LoadedModel, AsyncDisposable {
  readonly config: ModelConfig;
  readonly setting: Setting;
  readonly tokenizer: Tokenizer;
  /** Milliseconds from the call of `load` to the first possible token. */
  readonly loadMs: number;
  readonly #recovery: Recovery;
  readonly #onProfile: EngineOptions["onProfile"];
  readonly #reopen: ModelFile["reopen"];
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(
    { config, tokenizer, reopen }: ModelFile,
    setting: Setting,
    recovery: Recovery,
    loadMs: number,
    onProfile: EngineOptions["onProfile"],
  ) {
    this.config = config;
    this.setting = setting;
    this.tokenizer = tokenizer;
    this.loadMs = loadMs;
    this.#recovery = recovery;
    this.#onProfile = onProfile;
    this.#reopen = reopen;
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
    const began = performance.now() - model.openMs;
    const { config, tokenizer } = model;
    const { onWarning = () => {} } = options;
    try {
      const setting = resolveSetting(config, options);
      for (const warning of [...tokenizer.vocabulary.warnings, ...setting.warnings])
        onWarning(warning);
      const open = (file: GgufFile, pool?: PagePool) =>
        Session.open(platform, file, config, setting, options, pool);
      const session = await open(model.file);
      const reopen = async (pool: PagePool) => {
        const file = await model.reopen();
        try {
          return await open(file, pool);
        } finally {
          await file.close();
        }
      };
      const recovery = new Recovery(session, reopen, onWarning);
      return new Engine(model, setting, recovery, performance.now() - began, options.onProfile);
    } finally {
      await model.file.close();
    }
  }

  /** One line about the adapter. */
  get adapter(): string {
    return this.#recovery.session.adapter;
  }

  /** Bytes of the weights on the GPU. */
  get weightBytes(): number {
    return this.#recovery.session.weightBytes;
  }

  /** Bytes of the weights that a step reads: all but the embeddings that it looks up. */
  get stepBytes(): number {
    return this.#recovery.session.stepBytes;
  }

  /** Tells the model from all others, by its tensors: read from its file. */
  async fingerprint(): Promise<string> {
    const file = await this.#reopen();
    return fingerprint(file).finally(file.close);
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
   * A text, or token ids, as a vector [D] of the model's own hidden states, for comparison with others by their cosine.
   *
   *     const [a, b] = [await engine.embed("a cat"), await engine.embed("a dog")]; // of length 1
   */
  embed(text: string | readonly number[], options: EmbedOptions = {}): Promise<Float32Array> {
    return embed(this, text, options);
  }

  /** The vectors of many texts, in order, each when it is asked for. */
  async *embedAll(
    texts: Iterable<string | readonly number[]>,
    options: EmbedOptions = {},
  ): AsyncGenerator<Float32Array, void, void> {
    for (const text of texts) yield await this.embed(text, options);
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
    return this.#inTurn(() => this.#recovery.probe(layer));
  }

  sequence(policy?: AttentionPolicy): PageTable {
    return this.#recovery.session.cache.sequence(policy);
  }

  stepLimit(sequence: PageTable): number {
    return this.#recovery.session.cache.stepLimit(sequence);
  }

  chosen(
    sequence: PageTable,
    draw: Draw,
    first: number,
    budget: number,
  ): AsyncGenerator<TokenLogprob, void, void> {
    return this.#recovery.chosen((work) => this.#inTurn(work), sequence, draw, first, budget);
  }

  top<R>(
    sequence: PageTable,
    tokens: readonly number[],
    keep: number,
    use: (top: TopLogits) => R | undefined,
  ): Promise<R | Float32Array> {
    return this.#inTurn(() => this.#recovery.top(sequence, tokens, keep, use));
  }

  step(
    sequence: PageTable,
    tokens: readonly number[],
    wanted: number,
    probe?: AttentionProbe,
  ): Promise<Float32Array> {
    return this.#inTurn(() => this.#recovery.step(sequence, tokens, wanted, probe));
  }

  /**
   * Appends tokens to a sequence, at most `stepLimit(sequence)` of them, through its first `depth` layers only, and returns
   * their hidden states [T, D] there: what `embed` pools. Such a sequence has nothing for later layers to go on from.
   */
  hidden(sequence: PageTable, tokens: readonly number[], depth: number): Promise<Float32Array> {
    return this.#inTurn(() => this.#recovery.hidden(sequence, tokens, depth));
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
    const { device, cache, runner } = this.#recovery.session;
    const { hostMs, dispatches } = runner;
    return { ...device.memory, pages: cache.pool.size - cache.pool.free, hostMs, dispatches };
  }

  /**
   * Whether every kernel is timed, for `profile()`: steps take longer then. Throws a `UserError` where the adapter has no
   * timestamps. A lost device takes its profile with it, and is opened again without, unless there is `onProfile`.
   */
  get profiling(): boolean {
    return this.#recovery.session.runner.profiler !== undefined;
  }

  set profiling(on: boolean) {
    const { runner, device } = this.#recovery.session;
    if (on) runner.profiler ??= new Profiler(device);
    else runner.profiler = undefined;
  }

  /**
   * Where the GPU's time has gone since the last report, by phase ("prefill": steps of several tokens; "decode": of one) and
   * kernel; nothing unless the engine is `profiling`.
   */
  async profile(): Promise<readonly PhaseProfile[]> {
    return (await this.#recovery.session.runner.profiler?.report()) ?? [];
  }

  /** Frees the device and everything on it, after the steps that are on their way. */
  async close(): Promise<void> {
    const isFirst = !this.#closed;
    this.#closed = true;
    await this.#last;
    try {
      if (isFirst && this.#onProfile) this.#onProfile(await this.profile());
    } catch (error) {
      if (!(error instanceof DeviceLostError)) throw error; // the profile is lost with its device
    } finally {
      await this.#recovery.session.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
