// From a prompt to text: prefill in chunks, then a token a step.

import type { PageTable } from "../../context/cache/page-table.ts";
import {
  type AttentionChoice,
  type AttentionPolicy,
  attentionReader,
} from "../../context/positions/attention-policy.ts";
import { Generation } from "../../context/text/running-text.ts";
import { UserError } from "../../errors.ts";
import {
  abortSignal,
  callback,
  instance,
  listOf,
  type OptionsOf,
  positive,
  type Reader,
  type Readers,
  readOptions,
  text,
  textOrIds,
  whole,
  yesOrNo,
} from "../../option-reader.ts";
import type { LoadedModel, OpenedModel } from "../model/model-state.ts";
import { collectable, type Held } from "../run/abandoned.ts";
import {
  Sampler,
  type SamplingOptions,
  type TokenChoice,
  type TokenLogprob,
} from "../sampler/sampler.ts";
import { SAMPLING_READERS } from "../sampler/sampling-options.ts";
import { StopStrings } from "../sampler/stop-strings.ts";
import type { DecodeOptions } from "../tokenizer/decoder.ts";
import type { Vocabulary } from "../tokenizer/vocabulary.ts";
import { checkIds, policyOf } from "./checks.ts";
import { type Eviction, Evictions } from "./evictions.ts";
import { appendAnd } from "./prefill.ts";
import { PrefixCache } from "./prefix-cache.ts";
import { FillWatch, type TokenUsage, tokenBudget, tokenUsage } from "./token-usage.ts";

export interface GenerateOptions extends SamplingOptions {
  /** The most tokens to generate. Default: 256, or what the context has room for. */
  readonly maxTokens?: number | undefined;
  /** The text ends before this text, or the first of these; none of it is given out. */
  readonly stop?: string | readonly string[] | undefined;
  /** Goes on after end-of-generation tokens, which are never shown. */
  readonly ignoreEos?: boolean | undefined;
  /** Log-probabilities of so many of the likeliest tokens with each piece. */
  readonly logprobs?: number | undefined;
  /** Special tokens spelled in the prompt are taken as such. Default: they are plain text. */
  readonly parseSpecial?: boolean | undefined;
  /** What queries of this text see, where it differs from what the engine was loaded with. As text: "sinks:4+60". */
  readonly attention?: AttentionChoice | undefined;
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

const stopReader: Reader<readonly string[]> = (value, name) => {
  const stops = listOf(text, "a text or an array of texts")(
    typeof value === "string" ? [value] : value,
    name,
  );
  if (!stops.includes("")) return stops;
  throw new UserError(`A stop string is empty: "" of ${name} must have at least one character.`);
};

export const GENERATE_READERS = {
  ...SAMPLING_READERS,
  maxTokens: whole(1, 2 ** 40),
  stop: stopReader,
  ignoreEos: yesOrNo,
  logprobs: whole(0),
  parseSpecial: yesOrNo,
  attention: attentionReader,
  onEvict: callback,
  cache: yesOrNo,
  prefixCache: instance(PrefixCache, "what engine.prefixCache() gives"),
  onFill: callback,
  fillLevel: positive(1),
  signal: abortSignal,
} satisfies Readers<GenerateOptions>;

/** A request as the user made it, read. */
export type Request = OptionsOf<typeof GENERATE_READERS>;

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

/** See `Engine.generate`. What is wrong with a request is thrown at once. */
export function generate(
  engine: LoadedModel,
  prompt: string | readonly number[],
  options: GenerateOptions,
  // The text of a prompt goes on; an answer begins one.
  decoding: DecodeOptions = { continuation: true },
): Generation<Piece, GenerationResult> {
  const prepared = prepareGeneration(engine, prompt, options);
  return new Generation(prepared.request.signal, (signal) => {
    const request = { ...prepared.request, signal };
    return collectable((held) => pieces(engine, { ...prepared, request }, decoding, held));
  });
}

async function* pieces(
  engine: LoadedModel,
  { ids, policy, maxTokens, sampler, stops, request: options }: PreparedGeneration,
  decoding: DecodeOptions,
  held: Held,
): AsyncGenerator<Piece, GenerationResult, void> {
  const { vocabulary } = engine.tokenizer;
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

/** Appends tokens and chooses the next one: from the likeliest of them, or from all where these are too few. */
async function chooseNext(
  engine: LoadedModel,
  sequence: PageTable,
  tokens: readonly number[],
  sampler: Sampler,
  ids: readonly number[],
  { logprobs, signal }: Request,
): Promise<TokenChoice | undefined> {
  const keep = sampler.wants(ids, logprobs);
  const found = await appendAnd(engine, sequence, tokens, signal, (part) =>
    keep === undefined
      ? engine.step(sequence, part, 1)
      : engine.top(sequence, part, keep, (top) => sampler.sampleTop(top, ids, logprobs)),
  );
  return found instanceof Float32Array ? sampler.sample(found, ids, logprobs) : found;
}

/** What a generation works with. */
interface PreparedGeneration {
  readonly ids: number[];
  readonly policy: AttentionPolicy;
  readonly maxTokens: number;
  readonly sampler: Sampler;
  readonly stops: StopStrings;
  readonly request: Request;
}

/**
 * Checks a request against a model and makes what it needs, without any work on the GPU. Throws a `UserError` for
 * whatever is wrong with the prompt or the options, a `ContextOverflowError` where they do not fit the context.
 */
export function prepareGeneration(
  model: OpenedModel,
  prompt: string | readonly number[],
  options: GenerateOptions,
): PreparedGeneration {
  const request = readOptions("generate", options, GENERATE_READERS);
  const sampler = new Sampler(samplingOf(request), model.config.vocabulary);
  if (request.cache === false && request.prefixCache) {
    throw new UserError(
      "Without a cache there is no prefix to keep: leave out cache or prefixCache.",
    );
  }
  const stops = new StopStrings(request.stop ?? [], (stop) =>
    model.tokenizer
      .encode(stop, { addSpecial: false, parseSpecial: true })
      .some((id) => isHidden(model.tokenizer.vocabulary, id)),
  );
  const ids = [...promptIds(model, textOrIds(prompt, "prompt"), request)];
  const policy = policyOf(model, request.attention);
  const maxTokens = tokenBudget(model, policy, ids.length, request.maxTokens);
  return { ids, policy, maxTokens, sampler, stops, request };
}

/** What of a request is the sampler's. */
export function samplingOf(request: Request): SamplingOptions {
  const names = Object.keys(SAMPLING_READERS) as (keyof SamplingOptions)[];
  return Object.fromEntries(names.map((name) => [name, request[name]]));
}

/** Whether a token gives no text. */
function isHidden(vocabulary: Vocabulary, id: number): boolean {
  const type = vocabulary.type(id);
  return type === "control" || type === "unknown";
}

function promptIds(
  model: OpenedModel,
  prompt: string | readonly number[],
  { parseSpecial = false }: Request,
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
