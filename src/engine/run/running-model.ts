// A model on a GPU: sequences, and steps that append to them one at a time.

import type { PageTable } from "../../context/cache/page-table.ts";
import type { AttentionPolicy } from "../../context/positions/attention-policy.ts";
import { UserError } from "../../errors.ts";
import { DeviceLostError } from "../../kernels/gpu/device.ts";
import { type PhaseProfile, Profiler } from "../../kernels/gpu/profiler.ts";
import type { ModelConfig } from "../model/config.ts";
import type { LoadedModel, OpenedModel } from "../model/model-state.ts";
import type { EngineOptions, Setting } from "../options.ts";
import type { Draw, TokenLogprob, TopLogits } from "../sampler/sampler.ts";
import { IdlePrefixes, PrefixCache } from "../tasks/prefix-cache.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { Admission, pagesOf, type TextRequest } from "./admission.ts";
import type { AttentionProbe } from "./attention-probe.ts";
import type { Recovery } from "./recovery.ts";

export class RunningModel implements LoadedModel, AsyncDisposable {
  readonly config: ModelConfig;
  readonly setting: Setting;
  readonly tokenizer: Tokenizer;
  readonly #recovery: Recovery;
  readonly #onProfile: EngineOptions["onProfile"];
  readonly #idle: IdlePrefixes;
  readonly #admission: Admission;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  protected constructor(
    { config, tokenizer }: Omit<OpenedModel, "setting">,
    setting: Setting,
    recovery: Recovery,
    onProfile: EngineOptions["onProfile"],
  ) {
    this.config = config;
    this.setting = setting;
    this.tokenizer = tokenizer;
    this.#recovery = recovery;
    this.#onProfile = onProfile;
    const { pool } = recovery.session.cache;
    this.#idle = new IdlePrefixes(pool);
    this.#admission = new Admission(pool, this.#idle);
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

  /** What reads the attention weights of a layer out of a step. */
  probe(layer: number): Promise<AttentionProbe> {
    return this.#inTurn(() => this.#recovery.probe(layer));
  }

  /**
   * A place where generations keep their text: the next one that is given it computes only what differs, as in a
   * conversation, whose every turn begins with all that has been said. Its pages go where another text needs them.
   */
  prefixCache(): PrefixCache {
    return new PrefixCache(this, this.#idle);
  }

  async admit(request: TextRequest): Promise<PageTable> {
    if (this.#closed) throw closedError();
    const { policy = this.setting.policy, ids } = request;
    const { pageSize } = this.setting.cache.shape;
    const sequence = () => this.sequence(policy);
    const chunk = this.stepLimit(sequence());
    const pages = pagesOf(request, policy, chunk, pageSize);
    const take = (prefixCache: PrefixCache) => prefixCache.take(ids, policy);
    return this.#admission.admit(request, pages, sequence, take);
  }

  sequence(policy?: AttentionPolicy): PageTable {
    return this.#recovery.session.cache.sequence(policy);
  }

  truncate(sequence: PageTable, tokens: readonly number[]): boolean {
    return this.#recovery.truncate(sequence, tokens);
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
    if (this.#closed) return Promise.reject(closedError());
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
    this.#admission.close(closedError());
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

function closedError(): UserError {
  return new UserError("The engine is closed: load it again.");
}
