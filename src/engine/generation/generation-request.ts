// The options of a generation, and how they are checked.

import { PrefixCache } from "../../context/cache/prefix-cache.ts";
import {
  type AttentionChoice,
  type AttentionPolicy,
  attentionReader,
} from "../../context/positions/attention-policy.ts";
import { UserError } from "../../errors.ts";
import {
  abortSignal,
  callback,
  instance,
  listOf,
  number,
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
import {
  checkDraft,
  type DraftChoice,
  type DraftEngine,
  type DraftText,
  draftReader,
} from "../drafts/draft-option.ts";
import type { OpenedModel } from "../model/opened-model.ts";
import { Sampler, type SamplingOptions } from "../sampler/sampler.ts";
import { SAMPLING_READERS } from "../sampler/sampling-options.ts";
import { StopStrings } from "../sampler/stop-strings.ts";
import { checkIds, policyOf } from "../tasks/checks.ts";
import type { Eviction } from "./evictions.ts";
import { type DraftUsage, type TokenUsage, tokenBudget } from "./token-usage.ts";

export interface GenerateOptions extends SamplingOptions {
  /** The most tokens to generate. Default: 256, or fewer if the context has less room. */
  readonly maxTokens?: number | undefined;
  /** The text ends before this string, or the first of these; nothing of it is returned. */
  readonly stop?: string | readonly string[] | undefined;
  /** Goes on after end-of-generation tokens, whose text is never returned. */
  readonly ignoreEos?: boolean | undefined;
  /** Log-probabilities of this many of the likeliest tokens with each piece. */
  readonly logprobs?: number | undefined;
  /** Reads special tokens spelled in the prompt as special tokens. Default: as plain text. */
  readonly parseSpecial?: boolean | undefined;
  /** The attention policy of this text, if it differs from the engine's. As text: "sinks:4+60". */
  readonly attention?: AttentionChoice | undefined;
  /** Called with tokens whose pages are freed because no later query can see them. */
  readonly onEvict?: ((eviction: Eviction) => void) | undefined;
  /** False: recomputes the whole text for every token, for comparison. Default: true. */
  readonly cache?: boolean | undefined;
  /**
   * Keeps the keys and values of this text, and computes only what differs from the text that it
   * holds.
   */
  readonly prefixCache?: PrefixCache | undefined;
  /**
   * Called once, when prompt and answer fill `fillLevel` of the context; never under attention that
   * forgets.
   */
  readonly onFill?: ((usage: TokenUsage) => void) | undefined;
  /** Share of the context, 0 to 1. Default: 0.9. */
  readonly fillLevel?: number | undefined;
  /**
   * How many answers to give: each piece has the `index` of its own, and `result.answers` are all. The
   * prompt is computed once. Their seeds follow each other. Default: one, without an index.
   */
  readonly answers?: number | undefined;
  /**
   * Beam search with this many beams, 1 to 16: the likeliest whole text is searched for, and given
   * at the end. With `answers`, the best of its texts. Not with options that sample, nor with
   * onEvict, prefixCache, draft or `cache: false`. Default: none.
   */
  readonly beams?: number | undefined;
  /**
   * With `beams`: texts are compared by the sum of their log-probabilities / length^lengthPenalty: 0
   * favours short texts, 1 compares means, more favours long ones. Default: 1.
   */
  readonly lengthPenalty?: number | undefined;
  /**
   * Guesses several tokens and verifies them in one step: the tokens stay the same. "ngram" or
   * "ngram:K" repeats what followed the last tokens earlier in the text, K tokens at most (1 to 15,
   * default 15); an engine, or `{ engine, tokens }`, asks a smaller model of the same vocabulary.
   * Not with beams or `cache: false`. Default: none.
   */
  readonly draft?: DraftChoice | DraftText | DraftEngine | undefined;
  /** Ends the generation after the current token; `reason` is then "aborted". */
  readonly signal?: AbortSignal | undefined;
}

/** Beams are rows of one step, of which 16 are summed alike. */
const MAX_BEAMS = 16;

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
  answers: whole(1, 1024),
  beams: whole(1, MAX_BEAMS),
  lengthPenalty: number(-10, 10),
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
  draft: draftReader,
  signal: abortSignal,
} satisfies Readers<GenerateOptions>;

/** A request as the user made it, read. */
export type Request = OptionsOf<typeof GENERATE_READERS>;

/** What a generation works with. */
export interface PreparedGeneration {
  /** The text: the prompt, then each token when it is yielded. */
  readonly ids: number[];
  readonly policy: AttentionPolicy;
  readonly maxTokens: number;
  readonly sampler: Sampler;
  /** For a text of its own each time. */
  readonly stops: () => StopStrings;
  readonly request: Request;
  /** Tokens of drafts so far. */
  readonly drafts: { -readonly [K in keyof DraftUsage]: DraftUsage[K] };
}

/**
 * Checks a request against a model and prepares it, without any work on the GPU. Throws a
 * `UserError` if the prompt or an option is wrong, a `ContextOverflowError` if they do not fit the
 * context.
 */
export function prepareGeneration(
  model: OpenedModel,
  prompt: string | readonly number[],
  options: GenerateOptions,
): PreparedGeneration {
  const request = readOptions("generate", options, GENERATE_READERS);
  // Beams go by likelihood alone.
  const defaults = request.beams === undefined ? model.samplingDefaults : {};
  const sampling = { ...defaults, ...samplingOf(request) };
  const sampler = new Sampler(sampling, model.config.vocabulary);
  if (request.answers !== undefined && (request.cache === false || request.prefixCache)) {
    throw new UserError("Several answers share their prompt: leave out cache and prefixCache.");
  }
  if (request.cache === false && request.prefixCache) {
    throw new UserError(
      "Without a cache there is no prefix to keep: leave out cache or prefixCache.",
    );
  }
  checkBeams(request);
  checkDraft(model, request.draft, request.cache);
  const isControl = (stop: string) =>
    model.tokenizer
      .encode(stop, { addSpecial: false, parseSpecial: true })
      .some(model.tokenizer.vocabulary.isHidden);
  const stops = () => new StopStrings(request.stop ?? [], isControl);
  const ids = [...promptIds(model, textOrIds(prompt, "prompt"), request)];
  const policy = policyOf(model, request.attention);
  const maxTokens = tokenBudget(model, policy, ids.length, request.maxTokens);
  const drafts = { draftTokens: 0, acceptedTokens: 0 };
  return { ids, policy, maxTokens, sampler, stops, request, drafts };
}

/** Beams choose by likelihood alone, and end when the search does. */
function checkBeams(request: Request): void {
  const { beams, answers = 1, lengthPenalty } = request;
  if (beams === undefined) {
    if (lengthPenalty === undefined) return;
    throw new UserError("lengthPenalty compares the texts of beams: give beams, too.");
  }
  if (answers > beams) {
    throw new UserError(
      `${beams} beams give at most ${beams} answers, not ${answers}: ask for fewer answers or more beams.`,
    );
  }
  const { seed: _, temperature, ...others } = samplingOf(request);
  const { onEvict, prefixCache, draft, cache } = request;
  const refused = { temperature: temperature || undefined, ...others, onEvict, prefixCache, draft };
  const names = Object.entries({ ...refused, cache: cache === false ? cache : undefined })
    .filter(([, value]) => value !== undefined)
    .map(([name]) => name);
  if (names.length === 0) return;
  throw new UserError(`Beams go on with the likeliest texts: leave out ${names.join(", ")}.`);
}

/** The options of a request that the sampler takes, and none that were not given. */
export function samplingOf(request: Request): SamplingOptions {
  const names = Object.keys(SAMPLING_READERS) as (keyof SamplingOptions)[];
  const given = names.filter((name) => request[name] !== undefined);
  return Object.fromEntries(given.map((name) => [name, request[name]]));
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
  // A text that is continued has no end: drop the end-of-sequence token that the tokenizer adds to
  // whole texts.
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
