// From a prompt to text, piece by piece: stop strings, evictions, how full the context is, and the
// result at the end.
// In this room: how a text is generated, step by step: choices, answers, beams. Not in it: which
// requests share a step (run/), and what else is asked of a model (tasks/).

import type { Prefix } from "../../context/cache/prefix-cache.ts";
import type { Sequence } from "../../context/cache/sequence.ts";
import { Generation } from "../../context/text/running-text.ts";
import { UserError } from "../../errors.ts";
import { mostDrafted } from "../drafts/draft-option.ts";
import { collectable, type Held } from "../run/abandoned.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import type { TokenChoice } from "../sampler/sampler.ts";
import type { DecodeOptions } from "../tokenizer/decoder.ts";
import { answersTo } from "./answers.ts";
import { beamAnswers } from "./beam-answers.ts";
import { choices, mayReadAhead } from "./choices.ts";
import { Evictions } from "./evictions.ts";
import {
  type GenerateOptions,
  type PreparedGeneration,
  prepareGeneration,
} from "./generation-request.ts";
import {
  Answer,
  type FinishReason,
  type GenerationResult,
  type Piece,
} from "./generation-result.ts";
import { READ_AHEAD, ReadAhead } from "./read-ahead.ts";
import { Spent } from "./spent.ts";
import { FillWatch, type TokenUsage, tokenUsage } from "./token-usage.ts";

/** See `Engine.generate`. Throws for a wrong request at once, not at the first piece. */
export function generate(
  model: LoadedModel,
  prompt: string | readonly number[],
  options: GenerateOptions,
  // The output of `generate` continues the prompt's text; a chat answer begins a new one.
  decoding: DecodeOptions = { continuation: true },
): Generation<Piece, GenerationResult> {
  const prepared = prepareGeneration(model, prompt, options);
  const { answers, beams } = prepared.request;
  const all = Array.from({ length: answers ?? 1 }, (_, i) =>
    i === 0
      ? prepared
      : prepareGeneration(model, prompt, { ...options, seed: prepared.sampler.seed + i }),
  );
  return new Generation(prepared.request.signal, (signal) => {
    const own = (each: PreparedGeneration) => ({ ...each, request: { ...each.request, signal } });
    if (beams !== undefined) {
      return collectable((held) => beamAnswers(model, own(prepared), decoding, held));
    }
    if (answers === undefined) {
      return collectable((held) => pieces(model, own(prepared), decoding, held));
    }
    return collectable((held) => severalAnswers(model, all.map(own), decoding, held));
  });
}

async function* severalAnswers(
  model: LoadedModel,
  prepared: readonly PreparedGeneration[],
  decoding: DecodeOptions,
  held: Held,
): AsyncGenerator<Piece, GenerationResult, void> {
  const answers = yield* answersTo(model, prepared, held, (each, own, prefix) =>
    pieces(model, each, decoding, own, prefix),
  );
  return { ...answers[0]!, answers };
}

/** Yields the pieces of a text and returns its result. Until it ends, its sequence is in `held`. */
async function* pieces(
  model: LoadedModel,
  prepared: PreparedGeneration,
  decoding: DecodeOptions,
  held: Held,
  prefix: Prefix | undefined = prepared.request.prefixCache,
): AsyncGenerator<Piece, GenerationResult, void> {
  const { ids, request } = prepared;
  const { prefixCache } = request;
  const promptTokens = ids.length;
  const answer = new Answer(model, prepared, decoding);
  const sequence = await admit(model, prepared, prefix);
  const ahead = new ReadAhead<TokenChoice>(model, sequence);
  held.push({ release: () => void abandon(model, sequence, ahead) });
  const spent = new Spent(sequence);
  let finishReason: FinishReason;
  try {
    finishReason = yield* answered(model, sequence, prepared, {
      answer,
      spent,
      promptTokens,
      ahead,
    });
    const rest = answer.flush();
    if (rest) yield rest;
  } catch (error) {
    sequence.clear(); // the failed step may have stored a part
    throw error;
  } finally {
    held.length = 0;
    model.leave(sequence);
    if (prefixCache) prefixCache.give(sequence, ids);
    else sequence.release();
  }
  const { text, logprobs, stopped } = answer;
  return {
    text,
    tokens: ids.slice(promptTokens),
    logprobs,
    finishReason,
    stopped,
    usage: usageOf(model, prepared, { spent, promptTokens }),
    seed: prepared.sampler.seed,
    prefillMs: spent.prefillMs,
    decodeMs: performance.now() - spent.began - spent.prefillMs,
  };
}

/** Gives back what a text holds whose reader has left it between two pieces. */
async function abandon(
  model: LoadedModel,
  sequence: Sequence,
  ahead: ReadAhead<TokenChoice>,
): Promise<void> {
  await ahead.stop();
  model.leave(sequence);
  sequence.release();
}

/** A sequence with room for all that a text may become. */
function admit(
  model: LoadedModel,
  prepared: PreparedGeneration,
  prefix: Prefix | undefined,
): Promise<Sequence> {
  const { ids, policy, maxTokens, request } = prepared;
  const { prefixCache, signal } = request;
  if (prefixCache && !prefixCache.isOf(model)) {
    throw new UserError("The prefix cache is another engine's: take one of this engine.");
  }
  const tokens = ids.length + maxTokens;
  const isRecomputed = request.cache === false;
  const rows = request.draft && 1 + mostDrafted(request.draft);
  const finds = !isRecomputed;
  return model.admit({ ids, tokens, rows, policy, prefix, signal, isRecomputed, finds });
}

interface Progress {
  readonly spent: Spent;
  readonly promptTokens: number;
}

function usageOf(
  model: LoadedModel,
  { ids, policy, drafts }: PreparedGeneration,
  { spent, promptTokens }: Progress,
): TokenUsage {
  const { draftTokens, acceptedTokens } = drafts;
  const own = tokenUsage(model, policy, promptTokens, spent.cachedTokens, ids.length);
  return { ...own, draftTokens, acceptedTokens };
}

/** Yields the pieces of the tokens that follow, and returns why they end. */
async function* answered(
  model: LoadedModel,
  sequence: Sequence,
  prepared: PreparedGeneration,
  {
    answer,
    spent,
    promptTokens,
    ahead,
  }: Progress & { readonly answer: Answer; readonly ahead: ReadAhead<TokenChoice> },
): AsyncGenerator<Piece, FinishReason, void> {
  const { ids, maxTokens, request } = prepared;
  const { endOfGeneration } = model.tokenizer.vocabulary;
  const { pageSize } = model.setting.cache.shape;
  const usage = () => usageOf(model, prepared, { spent, promptTokens });
  const fill = new FillWatch(request);
  const evictions = new Evictions(sequence, pageSize, request.onEvict);
  fill.tell(usage);
  const most = mayReadAhead(prepared) ? READ_AHEAD : 0;
  const source = (signal: AbortSignal) => choices(model, sequence, prepared, signal);
  for await (const choice of ahead.read(most, request.signal, source)) {
    spent.prefilled();
    evictions.tell(ids);
    if (endOfGeneration.has(choice.id) && !request.ignoreEos) return "eos";
    ids.push(choice.id);
    fill.tell(usage);
    yield answer.push(choice);
    if (answer.stopped !== undefined) return "stop";
    if (ids.length === promptTokens + maxTokens) return "length";
  }
  return "aborted";
}
