// A model, loaded: text in, text out.

import type { PagePool } from "../context/cache/page-pool.ts";
import type { Message } from "../context/text/message.ts";
import type { Generation } from "../context/text/running-text.ts";
import type { SummaryTree } from "../context/text/summaries.ts";
import type { TextSource } from "../context/text/windows.ts";
import { readOptions, several } from "../option-reader.ts";
import { CHAT_READERS, type ChatOptions, type ChatResult, chat } from "./chat/chat.ts";
import { requestPrompt } from "./chat/request-prompt.ts";
import type { GgufFile } from "./gguf/gguf.ts";
import { fingerprint, tensorList } from "./model/fingerprint.ts";
import type { ModelFile } from "./model/inspect.ts";
import { type EngineOptions, readEngineOptions, resolveSetting, type Setting } from "./options.ts";
import type { AttentionRow } from "./run/attention-probe.ts";
import { ModelChangedError, Recovery } from "./run/recovery.ts";
import { RunningModel } from "./run/running-model.ts";
import { type Platform, Session } from "./run/session.ts";
import { type AttentionRowsOptions, attentionRows } from "./tasks/attention-rows.ts";
import { EMBED_READERS, type EmbedOptions, embed } from "./tasks/embedding.ts";
import {
  type GenerateOptions,
  type GenerationResult,
  generate,
  type Piece,
} from "./tasks/generation.ts";
import type { PrefixCache } from "./tasks/prefix-cache.ts";
import { type Score, score } from "./tasks/score.ts";
import { type EngineSummaryOptions, summarizeBy } from "./tasks/summarizer.ts";
import type { DecodeOptions, EncodeOptions } from "./tokenizer/tokenizer.ts";

export class Engine extends RunningModel {
  /** Milliseconds from the call of `load` to the first possible token. */
  readonly loadMs: number;
  /** The kernels that loading compiled, and the milliseconds of `loadMs` in which it waited for them. */
  readonly compiled: { readonly kernels: number; readonly ms: number };
  /** Of chats that bring none. */
  readonly #chats: PrefixCache;
  readonly #tensors: string;
  readonly #content: string;

  private constructor(
    model: ModelFile,
    setting: Setting,
    recovery: Recovery,
    loadMs: number,
    onProfile: EngineOptions["onProfile"],
  ) {
    super(model, setting, recovery, onProfile);
    this.loadMs = loadMs;
    this.compiled = recovery.session.compiled;
    this.#chats = this.prefixCache();
    this.#tensors = tensorList(model.file);
    this.#content = recovery.session.content;
  }

  /**
   * Puts an opened model on the GPU and closes its file. Throws a `UserError` for what is wrong with the file, the
   * options or the machine; nothing stays open or allocated then.
   */
  static async open(
    platform: Platform,
    model: ModelFile,
    given: EngineOptions = {},
  ): Promise<Engine> {
    const began = performance.now() - model.openMs;
    const { config, tokenizer } = model;
    try {
      const options = readEngineOptions(given);
      const { onWarning = () => {} } = options;
      const setting = resolveSetting(config, options);
      for (const warning of [...tokenizer.vocabulary.warnings, ...setting.warnings])
        onWarning(warning);
      const open = (file: GgufFile, pool?: PagePool) =>
        Session.open(platform, file, config, setting, options, pool);
      const session = await open(model.file);
      const tensors = tensorList(model.file);
      const reopen = async (pool: PagePool) => {
        const file = await model.reopen();
        try {
          if (tensorList(file) !== tensors) throw new ModelChangedError(file.name);
          const again = await open(file, pool);
          if (again.content === session.content) return again;
          await again.close();
          throw new ModelChangedError(file.name);
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

  /**
   * Tells the model as it was loaded from all others, by its tensors, and the way in which it reads from others, by what it
   * sees and how positions are scaled.
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
   * A prompt that has the model do what a text asks for: through the file's chat template, or, where it has none, the text
   * itself, to go on from.
   */
  promptFor(request: string): string | readonly number[] {
    return requestPrompt(this, request);
  }

  /**
   * Continues a prompt, a text or token ids, piece by piece. `result` is a promise of the whole text, the reason
   * it ended, counts and timings; it needs no loop. Leaving the loop early ends the text and frees all that it held.
   * A mistake in the request is a `UserError` that is thrown at once, before the first piece.
   */
  generate(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): Generation<Piece, GenerationResult> {
    return generate(this, prompt, options);
  }

  /** Continues a prompt and waits for the end, as `generate(prompt, options).result`; a mistake rejects it. */
  async complete(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): Promise<GenerationResult> {
    return this.generate(prompt, options).result;
  }

  /**
   * Answers the last message of a conversation, piece by piece. What it begins with in common with the last conversation
   * stays in the cache: a turn computes only what is new, and `usage` tells how much of it was not.
   *
   *     const answer = engine.chat(messages);
   *     for await (const { text } of answer) process.stdout.write(text); // or no loop at all
   *     messages.push((await answer.result).message);
   *
   * If the loop is left early, the message has what was said so far, and `finishReason` is "aborted". A mistake in the
   * options or the messages is a `UserError` that is thrown at once; a conversation that does not fit comes to light when its
   * first piece is asked for.
   */
  chat(conversation: readonly Message[], options: ChatOptions = {}): Generation<Piece, ChatResult> {
    const read = readOptions("chat", options, CHAT_READERS);
    const own = read.cache === false ? undefined : this.#chats;
    return chat(this, conversation, { ...read, prefixCache: read.prefixCache ?? own });
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
   * Summarises a document of any length in at most `budget` tokens: windows of it, then summaries of summaries. The tree
   * is kept. Throws a `UserError` for an empty document and for numbers that do not fit the context.
   */
  summarize(document: TextSource, options: EngineSummaryOptions): Promise<SummaryTree> {
    return summarizeBy(this, document, options);
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
    readOptions("embedAll", options, EMBED_READERS);
    several("an array of texts")(texts, "texts");
    for (const text of texts) yield await this.embed(text, options);
  }

  /**
   * What each token of a text attends to in one layer, out of the cache as it is at that step. A chunk of 1 shows every
   * eviction where a stream would have it. A mistake is a `UserError` that is thrown at once, before the first row.
   */
  attention(
    prompt: string | readonly number[],
    options: AttentionRowsOptions,
  ): AsyncGenerator<AttentionRow, void, void> {
    return attentionRows(this, prompt, options);
  }
}
