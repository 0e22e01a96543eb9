// From a prompt to text: prefill in chunks, then a token a step.

import type { AttentionOptions, AttentionPolicy } from "../context/attention-policy.ts";
import type { PageTable } from "../context/cache/page-table.ts";
import { UserError } from "../errors.ts";
import { collectable, type Held } from "./abandoned.ts";
import { appendAnd } from "./append.ts";
import { type Eviction, Evictions } from "./evictions.ts";
import type { LoadedModel, OpenedModel } from "./model-state.ts";
import type { PrefixCache } from "./prefix-cache.ts";
import { checkIds, policyOf } from "./requests.ts";
import {
  Sampler,
  type SamplingOptions,
  type TokenChoice,
  type TokenLogprob,
} from "./sampler/sampler.ts";
import { checkTopLogprobs } from "./sampler/sampling-options.ts";
import { StopStrings } from "./sampler/stop-strings.ts";
import type { DecodeOptions } from "./tokenizer/decoder.ts";
import type { Vocabulary } from "./tokenizer/vocabulary.ts";
import { checkFillLevel, FillWatch, type TokenUsage, tokenBudget, tokenUsage } from "./usage.ts";

export interface GenerateOptions extends SamplingOptions {
  /** The most tokens to generate. Default: 256, or what the context has room for. */
  readonly maxTokens?: number | undefined;
  /** The text ends before the first of these; none of it is given out. */
  readonly stop?: readonly string[] | undefined;
  /** Goes on after end-of-generation tokens, which are never shown. */
  readonly ignoreEos?: boolean | undefined;
  /** Log-probabilities of so many of the likeliest tokens with each piece. */
  readonly logprobs?: number | undefined;
  /** Special tokens spelled in the prompt are taken as such. Default: they are plain text. */
  readonly parseSpecial?: boolean | undefined;
  /** What queries of this text see, where it differs from what the engine was loaded with. */
  readonly attention?: AttentionOptions | AttentionPolicy | undefined;
  /** Told of tokens whose pages are freed since nothing can see them any more. */
  readonly onEvict?: ((eviction: Eviction) => void) | undefined;
  /** False: recomputes the whole text for every token, for comparison. Default: true. */
  readonly cache?: boolean | undefined;
  /** Keeps this text when it has ended, and computes only what differs from the one that it has kept. */
  readonly prefixCache?: PrefixCache | undefined;
  /** Told once, when prompt and answer fill this share of the context; never under attention that forgets. */
  readonly onFill?: ((usage: TokenUsage) => void) | undefined;
  /** Default: 0.9 of the context. */
  readonly fillLevel?: number | undefined;
  /** Ends the generation after the token in work; its reason is then "aborted". */
  readonly signal?: AbortSignal | undefined;
}

/** A generated token and the text that it completes, which may be none. */
export interface Piece extends TokenChoice {
  readonly text: string;
}

export type FinishReason = "eos" | "stop" | "length" | "aborted";

export interface GenerationResult {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly logprobs: readonly {
    readonly logprob: number;
    readonly top?: readonly TokenLogprob[];
  }[];
  readonly finishReason: FinishReason;
  /** The stop string that ended the text. */
  readonly stopped: string | undefined;
  readonly usage: TokenUsage;
  readonly seed: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
}

export function generate(
  engine: LoadedModel,
  prompt: string | readonly number[],
  options: GenerateOptions,
  // The text of a prompt goes on; an answer begins one.
  decoding: DecodeOptions = { continuation: true },
): AsyncGenerator<Piece, GenerationResult, void> {
  return collectable((held) => pieces(engine, prompt, options, decoding, held));
}

async function* pieces(
  engine: LoadedModel,
  prompt: string | readonly number[],
  options: GenerateOptions,
  decoding: DecodeOptions,
  held: Held,
): AsyncGenerator<Piece, GenerationResult, void> {
  const { vocabulary } = engine.tokenizer;
  const { ids, policy, maxTokens, sampler, stops } = prepareGeneration(engine, prompt, options);
  const decoder = engine.tokenizer.decoder(decoding);
  const promptTokens = ids.length;
  const logprobs: GenerationResult["logprobs"][number][] = [];
  let text = "";
  let finishReason: FinishReason = "length";
  let stopped: string | undefined;
  let prefillMs = 0;

  const { prefixCache } = options;
  if (prefixCache && !prefixCache.isOf(engine)) {
    throw new UserError("The prefix cache is another engine's: take one of this engine.");
  }
  const { signal } = options;
  const tokens = promptTokens + maxTokens;
  const sequence = await engine.admit({ ids, tokens, policy, prefixCache, signal });
  held.push(sequence);
  const cachedTokens = sequence.length;
  const usage = (): TokenUsage =>
    tokenUsage(engine, policy, promptTokens, cachedTokens, ids.length);
  const fill = new FillWatch(options);
  const evictions = new Evictions(sequence, engine.setting.cache.shape.pageSize, options.onEvict);
  const began = performance.now();
  try {
    fill.tell(usage);
    let pending = ids.slice(cachedTokens);
    // What the GPU can choose alone need not wait for the host. Steps ahead of the text may forget what the next text, which
    // goes on from its end, should see.
    const isWithdrawable = !prefixCache || policy.window === Number.POSITIVE_INFINITY;
    const isGpuChoice = options.logprobs === undefined && options.cache !== false && isWithdrawable;
    const draw = isGpuChoice ? sampler.draw : undefined;
    let ahead: AsyncGenerator<TokenLogprob, void, void> | undefined;
    while (ids.length - promptTokens < maxTokens) {
      if (options.signal?.aborted) {
        finishReason = "aborted";
        break;
      }
      let choice: TokenChoice;
      if (ahead) {
        const { done, value } = await ahead.next();
        if (done) break;
        choice = value;
      } else {
        if (options.cache === false) {
          sequence.clear();
          pending = ids.slice();
        }
        const found = await chooseNext(engine, sequence, pending, sampler, ids, options);
        if (!found) continue; // aborted between two chunks
        prefillMs ||= performance.now() - began;
        choice = found;
        const budget = maxTokens - (ids.length - promptTokens) - 1;
        if (draw) ahead = engine.chosen(sequence, draw, choice.id, budget);
      }
      evictions.tell(ids);
      if (vocabulary.endOfGeneration.has(choice.id) && !options.ignoreEos) {
        finishReason = "eos";
        break;
      }
      ids.push(choice.id);
      pending = [choice.id];
      const { id: _, ...logprob } = choice;
      logprobs.push(logprob);
      fill.tell(usage);
      const out = isHidden(vocabulary, choice.id)
        ? stops.pushControl(vocabulary.text(choice.id))
        : stops.push(decoder.push(choice.id));
      text += out.text;
      yield { ...choice, text: out.text };
      if (out.stopped !== undefined) {
        finishReason = "stop";
        stopped = out.stopped;
        break;
      }
    }
    if (stopped === undefined) {
      // What was held back in case a stop string, or a character, would be completed.
      const last = stops.push(decoder.flush());
      const rest = last.text + stops.flush();
      text += rest;
      const id = ids.at(-1)!;
      if (rest !== "") yield { ...logprobs.at(-1)!, id, text: rest };
    }
  } catch (error) {
    sequence.clear(); // who knows what it holds
    throw error;
  } finally {
    held.length = 0;
    if (prefixCache) prefixCache.give(sequence, ids);
    else sequence.release();
  }
  return {
    text,
    tokens: ids.slice(promptTokens),
    logprobs,
    finishReason,
    stopped,
    usage: usage(),
    seed: sampler.seed,
    prefillMs,
    decodeMs: performance.now() - began - prefillMs,
  };
}

/** Generates, and waits for the end. */
export async function complete(
  engine: LoadedModel,
  prompt: string | readonly number[],
  options: GenerateOptions,
): Promise<GenerationResult> {
  const generation = generate(engine, prompt, options);
  for (;;) {
    const { done, value } = await generation.next();
    if (done) return value;
  }
}

/** Appends tokens and chooses the next one: from the likeliest of them, or from all where these are too few. */
async function chooseNext(
  engine: LoadedModel,
  sequence: PageTable,
  tokens: readonly number[],
  sampler: Sampler,
  ids: readonly number[],
  { logprobs, signal }: GenerateOptions,
): Promise<TokenChoice | undefined> {
  const keep = sampler.wants(ids, logprobs);
  const found = await appendAnd(engine, sequence, tokens, signal, (part) =>
    keep === undefined
      ? engine.step(sequence, part, 1)
      : engine.top(sequence, part, keep, (top) => sampler.sampleTop(top, ids, logprobs)),
  );
  return found instanceof Float32Array ? sampler.sample(found, ids, logprobs) : found;
}

/**
 * Checks a request against a model and makes what it needs, without any work on the GPU. Throws a `UserError` for
 * whatever is wrong with the prompt or the options, a `ContextOverflowError` where they do not fit the context.
 */
export function prepareGeneration(
  model: OpenedModel,
  prompt: string | readonly number[],
  options: GenerateOptions,
): {
  ids: number[];
  policy: AttentionPolicy;
  maxTokens: number;
  sampler: Sampler;
  stops: StopStrings;
} {
  const sampler = new Sampler(options, model.config.vocabulary);
  checkTopLogprobs(options.logprobs ?? 0);
  checkFillLevel(options.fillLevel);
  if (options.cache === false && options.prefixCache) {
    throw new UserError(
      "Without a cache there is no prefix to keep: leave out cache or prefixCache.",
    );
  }
  const stops = new StopStrings(options.stop ?? [], (stop) =>
    model.tokenizer
      .encode(stop, { addSpecial: false, parseSpecial: true })
      .some((id) => isHidden(model.tokenizer.vocabulary, id)),
  );
  const ids = [...promptIds(model, prompt, options)];
  const policy = policyOf(model, options.attention);
  const maxTokens = tokenBudget(model, policy, ids.length, options.maxTokens);
  return { ids, policy, maxTokens, sampler, stops };
}

/** Whether a token gives no text. */
function isHidden(vocabulary: Vocabulary, id: number): boolean {
  const type = vocabulary.type(id);
  return type === "control" || type === "unknown";
}

function promptIds(
  model: OpenedModel,
  prompt: string | readonly number[],
  { parseSpecial = false }: GenerateOptions,
): readonly number[] {
  const { tokenizer } = model;
  const { vocabulary } = tokenizer;
  if (typeof prompt !== "string") {
    if (prompt.length === 0)
      throw new UserError("The prompt is empty: give at least one token id.");
    checkIds(model, prompt);
    return prompt;
  }
  const ids = tokenizer.encode(prompt, { parseSpecial });
  // A text to be continued does not end, whatever the tokenizer does with whole texts.
  if (vocabulary.addEos && ids.at(-1) === vocabulary.eos) ids.pop();
  if (ids.every((id) => vocabulary.type(id) === "control")) {
    throw new UserError(
      prompt === ""
        ? "The prompt is empty: give some text."
        : "The prompt has special tokens only: give some text.",
    );
  }
  return ids;
}
