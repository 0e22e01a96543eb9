// A loaded model: text in, text out.

import type { CachePages } from "../context/cache/cache-pages.ts";
import type { PrefixCache } from "../context/cache/prefix-cache.ts";
import type { Sequence } from "../context/cache/sequence.ts";
import type { AttentionPolicy } from "../context/positions/attention-policy.ts";
import type { Message } from "../context/text/message.ts";
import type { Generation } from "../context/text/running-text.ts";
import type { SummaryTree } from "../context/text/summaries.ts";
import type { TextSource } from "../context/text/windows.ts";
import { UserError } from "../errors.ts";
import { DeviceLostError } from "../kernels/gpu/device.ts";
import { readOptions } from "../option-reader.ts";
import { CHAT_READERS, type ChatOptions, type ChatResult, chat } from "./chat/chat.ts";
import { requestPrompt } from "./chat/request-prompt.ts";
import { type OpenedSession, SavedSessions } from "./chat/saved-sessions.ts";
import { generate } from "./generation/generation.ts";
import type { GenerateOptions } from "./generation/generation-request.ts";
import type { GenerationResult, Piece } from "./generation/generation-result.ts";
import type { GgufFile } from "./gguf/gguf.ts";
import type { ModelConfig } from "./model/config.ts";
import { fingerprint, tensorList } from "./model/fingerprint.ts";
import type { ModelFile } from "./model/open.ts";
import { type EngineOptions, readEngineOptions, resolveSetting, type Setting } from "./options.ts";
import type { AttentionRow } from "./run/attention-probe.ts";
import { EngineProfiler } from "./run/engine-profiler.ts";
import { LoadedModel, type RequestCounts } from "./run/loaded-model.ts";
import { ModelChangedError, Recovery } from "./run/recovery.ts";
import { type Platform, Session } from "./run/session.ts";
import type { Output, Rows, Wanted } from "./run/step.ts";
import type { SamplingOptions } from "./sampler/sampling-options.ts";
import { type AttentionRowsOptions, attentionRows } from "./tasks/attention-rows.ts";
import { checkDecodes, readRows } from "./tasks/checks.ts";
import { type EmbedOptions, embed } from "./tasks/embedding.ts";
import { type Score, score } from "./tasks/score.ts";
import { type EngineSummaryOptions, summarizeBy } from "./tasks/summarizer.ts";
import type { DecodeOptions, EncodeOptions, Tokenizer } from "./tokenizer/tokenizer.ts";

/**
 * Bytes and buffers alive on the GPU, pages of the cache in use, and the time that the host spent
 * on steps.
 */
export interface EngineUsage {
  readonly bytes: number;
  readonly buffers: number;
  readonly pages: number;
  /** Pages that no text uses, and that a later one may find. */
  readonly keptPages: number;
  /** Milliseconds that the host has spent on steps, without the time that it waited for the GPU. */
  readonly hostMs: number;
  /** Dispatches of a decoding step of one text, at most. */
  readonly dispatches: number;
  readonly requests: RequestCounts;
}

/** Figures of the loaded model. */
export interface LoadedFigures {
  /** One line about the adapter. */
  readonly adapter: string;
  /** Milliseconds from the call of `load` to the first possible token. */
  readonly ms: number;
  /**
   * The kernels that loading compiled, and the milliseconds of `ms` in which it waited for them.
   */
  readonly compiled: { readonly kernels: number; readonly ms: number };
  /**
   * Bytes of the weights on the GPU, and of those that a step reads: all but the embeddings that it
   * looks up.
   */
  readonly weightBytes: number;
  readonly stepBytes: number;
  /** The most steps of one text that are in flight. */
  readonly stepsAhead: number;
}

export class Engine implements AsyncDisposable {
  readonly config: ModelConfig;
  readonly setting: Setting;
  readonly tokenizer: Tokenizer;
  /** `general.sampling.*` of the file: the defaults of options that a request leaves out. */
  readonly samplingDefaults: SamplingOptions;
  /** Times every kernel while it is started. Its figures are lost with a lost device. */
  readonly profiler: EngineProfiler;
  readonly #model: LoadedModel;
  readonly #loadMs: number;
  readonly #compiled: LoadedFigures["compiled"];
  /** For chats that are given no prefix cache. */
  readonly #chats: PrefixCache;
  readonly #tensors: string;
  readonly #content: string;
  readonly #onProfile: EngineOptions["onProfile"];
  readonly #saved: SavedSessions;
  #isClosed = false;

  private constructor(
    file: GgufFile,
    model: LoadedModel,
    loadMs: number,
    onProfile: EngineOptions["onProfile"],
    platform: Platform,
  ) {
    this.config = model.config;
    this.setting = model.setting;
    this.tokenizer = model.tokenizer;
    this.samplingDefaults = model.samplingDefaults;
    this.profiler = new EngineProfiler(model);
    this.#model = model;
    this.#loadMs = loadMs;
    this.#compiled = model.session.compiled;
    this.#chats = model.prefixCache();
    this.#tensors = tensorList(file);
    this.#content = model.session.content;
    const weights = [this.#tensors, this.#content];
    this.#saved = new SavedSessions(model, this.#chats, weights, platform);
    this.#onProfile = onProfile;
  }

  /**
   * Puts an opened model on the GPU and closes its file. Throws a `UserError` if the file, an
   * option or the machine is wrong; then nothing stays open or allocated.
   */
  static async open(
    platform: Platform,
    model: ModelFile,
    given: EngineOptions = {},
  ): Promise<Engine> {
    const began = performance.now() - model.openMs;
    const { config, tokenizer, samplingDefaults } = model;
    try {
      const options = readEngineOptions(given);
      const { onWarning = () => {} } = options;
      const setting = resolveSetting(config, options);
      for (const warning of [...tokenizer.vocabulary.warnings, ...setting.warnings])
        onWarning(warning);
      const open = (file: GgufFile, pages?: CachePages) =>
        Session.open(platform, file, config, setting, options, pages);
      const session = await open(model.file);
      const tensors = tensorList(model.file);
      const reopen = async (pages: CachePages) => {
        const file = await model.reopen();
        try {
          if (tensorList(file) !== tensors) throw new ModelChangedError(file.name);
          const again = await open(file, pages);
          if (again.content === session.content) return again;
          await again.close();
          throw new ModelChangedError(file.name);
        } finally {
          await file.close();
        }
      };
      const recovery = new Recovery(session, reopen, onWarning);
      const { onStep } = options;
      const opened = { config, setting, tokenizer, samplingDefaults };
      const loaded = new LoadedModel(opened, recovery, onStep);
      const ms = performance.now() - began;
      return new Engine(model.file, loaded, ms, options.onProfile, platform);
    } finally {
      await model.file.close();
    }
  }

  get loaded(): LoadedFigures {
    const { adapter, weightBytes, stepBytes } = this.#model.session;
    const { stepsAhead } = this.#model;
    const [ms, compiled] = [this.#loadMs, this.#compiled];
    return { adapter, ms, compiled, weightBytes, stepBytes, stepsAhead };
  }

  /** The model, for what needs a next token. */
  get #decoder(): LoadedModel {
    checkDecodes(this.#model);
    return this.#model;
  }

  get usage(): EngineUsage {
    const { device, pages, runner } = this.#model.session;
    const { hostMs, dispatches } = runner;
    const { requests } = this.#model;
    const { used, kept } = pages;
    return { ...device.memory, pages: used, keptPages: kept, hostMs, dispatches, requests };
  }

  /**
   * Identifies the loaded model: a hash of its tensors, its attention policy and how positions are
   * scaled.
   */
  fingerprint(): Promise<string> {
    const { policy, scaling, ropeModel } = this.setting;
    const { sinks, window } = policy;
    const setting = { sinks, window, scaling, base: ropeModel.base };
    return fingerprint(this.#tensors, this.#content, setting);
  }

  /** The ids of a text, with BOS and EOS as the file says. */
  tokenize(text: string, options?: EncodeOptions): number[] {
    return this.tokenizer.encode(text, options);
  }

  detokenize(ids: Iterable<number>, options?: DecodeOptions): string {
    return this.tokenizer.decode(ids, options);
  }

  /**
   * A prompt that makes the model do what a text asks for: the text in the file's chat template, or
   * the text itself if the file has none.
   */
  promptFor(request: string): string | readonly number[] {
    return requestPrompt(this, request);
  }

  /**
   * Continues a prompt, a text or token ids, piece by piece. `result` is a promise of the whole
   * text, the reason it ended, counts and timings; it needs no loop. Leaving the loop early ends
   * the text and frees its pages. A wrong request throws a `UserError` at once, before the first
   * piece.
   */
  generate(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): Generation<Piece, GenerationResult> {
    return generate(this.#decoder, prompt, options);
  }

  /**
   * Continues a prompt and waits for the end, as `generate(prompt, options).result`. Rejects if the
   * request is wrong.
   */
  async complete(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): Promise<GenerationResult> {
    return this.generate(prompt, options).result;
  }

  /**
   * Answers the last message of a conversation, piece by piece. Its common prefix with the last
   * conversation stays in the cache: a turn computes only what is new, and `usage.cachedTokens`
   * counts the rest.
   *
   *     const answer = engine.chat(messages);
   *     for await (const { text } of answer) process.stdout.write(text); // or no loop at all
   *     messages.push((await answer.result).message);
   *
   * If the loop is left early, the message has the text so far, and `finishReason` is "aborted".
   * Wrong options or messages throw a `UserError` at once; a conversation that does not fit throws
   * when the first piece is requested.
   */
  chat(conversation: readonly Message[], options: ChatOptions = {}): Generation<Piece, ChatResult> {
    const read = readOptions("chat", options, CHAT_READERS);
    const own = read.cache === false ? undefined : this.#chats;
    return chat(this.#decoder, conversation, { ...read, prefixCache: read.prefixCache ?? own });
  }

  /**
   * Measures how well the model predicts given ids, position by position. `onRow` gets the logits
   * [V] after each token, in order; the array is reused.
   */
  async score(
    ids: readonly number[],
    onRow?: (position: number, logits: Float32Array) => void | Promise<void>,
  ): Promise<Score> {
    return score(this.#decoder, ids, onRow);
  }

  /**
   * Summarises a document of any length in at most `budget` tokens: first its windows, then
   * summaries of summaries. Returns the whole tree. Throws a `UserError` for an empty document, and
   * for sizes that do not fit the context.
   */
  summarize(document: TextSource, options: EngineSummaryOptions): Promise<SummaryTree> {
    return summarizeBy(this, document, options);
  }

  /**
   * A text, or token ids, as a vector [D] of the model's hidden states, to compare with others by
   * cosine.
   *
   *     const [a, b] = [await engine.embed("a cat"), await engine.embed("a dog")]; // of length 1
   */
  embed(text: string | readonly number[], options: EmbedOptions = {}): Promise<Float32Array> {
    return embed(this.#model, text, options);
  }

  /**
   * The attention weights of each token of a text in one layer, over the cache as it is at that
   * step. With a `chunk` of 1, evictions happen at the same tokens as in a stream. A wrong request
   * throws a `UserError` at once, before the first row.
   */
  attention(
    prompt: string | readonly number[],
    options: AttentionRowsOptions,
  ): AsyncGenerator<AttentionRow, void, void> {
    return attentionRows(this.#decoder, prompt, options);
  }
  /**
   * Makes a cache that keeps the text of a generation: the next one that uses it computes only what
   * differs, as in a conversation, in which each turn begins with all turns before. Its pages are
   * freed if another text needs them.
   */
  prefixCache(): PrefixCache {
    return this.#model.prefixCache();
  }

  /**
   * Makes an empty sequence for `run`, under the engine's attention policy or its own; `clear()`
   * frees its pages. No pages are reserved: its steps throw a `CapacityError` if the cache is full.
   */
  sequence(policy?: AttentionPolicy): Sequence {
    return this.#model.sequence(policy);
  }

  /**
   * Appends tokens to a sequence, at most `sequence.stepLimit` of them, and returns what is wanted of
   * them. What is asked for of different sequences at the same time runs in one step; rows of one
   * sequence run in the order of the calls. What is wrong with the rows is thrown at once, a
   * `UserError`.
   *
   *     const wanted = { kind: "logits", rows: 1 } as const;
   *     const logits = await engine.run({ sequence, tokens, wanted }); // [1, V]
   */
  run<W extends Wanted>(rows: Rows<W>): Promise<Output<W>> {
    const read = readRows(this, rows);
    if (!read.sequence.isIn(this.#model.session.pages)) {
      throw new UserError("The sequence is another engine's: take one of this engine.");
    }
    return this.#model.run(read);
  }

  /**
   * Saves a text to a file, with its pages, so that `openSession` takes it up without computing it
   * again: a sequence of `run`, what a prefix cache keeps, or the messages of the conversation that
   * `chat` has answered last (others are saved without pages). The file is complete, or as it was
   * before. Throws a `UserError` if the text is another engine's, or if the file cannot be written.
   */
  saveSession(path: string, text: Sequence | PrefixCache | readonly Message[]): Promise<void> {
    return this.#saved.save(path, text);
  }

  /**
   * Takes up a text that was saved. Throws a `SessionFileError` if the file is damaged, or was made
   * by another model, version or setting (rotation, attention policy, kind and size of pages), and
   * a `CapacityError` if the cache has no room for it; then nothing has changed. A sequence with an
   * attention policy of its own opens only in an engine that was loaded with that policy.
   */
  openSession(path: string): Promise<OpenedSession> {
    return this.#saved.open(path);
  }

  /**
   * Ends what waits and runs with an `EngineClosedError`, and frees the device and everything on it
   * after the step on its way.
   */
  async close(): Promise<void> {
    const isFirst = !this.#isClosed;
    this.#isClosed = true;
    await this.#model.close();
    try {
      if (isFirst && this.#onProfile) this.#onProfile(await this.profiler.report());
    } catch (error) {
      if (!(error instanceof DeviceLostError)) throw error; // which took the profile along
    } finally {
      await this.#model.session.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
