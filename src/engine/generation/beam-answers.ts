// The texts of a beam search, as a generation gives them.

import type { Held } from "../run/abandoned.ts";
import type { Forks, LoadedModel } from "../run/loaded-model.ts";
import type { TokenChoice } from "../sampler/sampler.ts";
import type { DecodeOptions } from "../tokenizer/decoder.ts";
import { beamSearch, type Hypothesis } from "./beams.ts";
import type { PreparedGeneration } from "./generation-request.ts";
import { Answer, type GenerationResult, type Piece } from "./generation-result.ts";
import { Spent } from "./spent.ts";
import { FillWatch, tokenUsage } from "./token-usage.ts";

/** Yields the pieces of the best text, or of the best `answers`, when the search has ended. */
export async function* beamAnswers(
  model: LoadedModel,
  prepared: PreparedGeneration,
  decoding: DecodeOptions,
  held: Held,
): AsyncGenerator<Piece, GenerationResult, void> {
  const { ids, policy, maxTokens, request } = prepared;
  const { answers, signal } = request;
  const tokens = ids.length + maxTokens;
  const asked = { ids, tokens, policy, signal, finds: true };
  const forks = await model.admitForks(asked, request.beams!);
  const spent = new Spent(forks.first);
  const found = await search(model, prepared, decoding, { forks, spent, held });
  const decodeMs = performance.now() - spent.began - spent.prefillMs;
  const results: GenerationResult[] = [];
  for (const [index, hypothesis] of found.slice(0, answers ?? 1).entries()) {
    const answer = new Answer(model, prepared, decoding);
    for (const piece of answer.all(hypothesis.choices)) {
      yield answers === undefined ? piece : { ...piece, index };
    }
    const { text, logprobs, stopped } = answer;
    const { choices, finishReason } = hypothesis;
    const [all, { cachedTokens, prefillMs }] = [ids.length + choices.length, spent];
    results.push({
      text,
      tokens: choices.map(({ id }) => id),
      logprobs,
      finishReason,
      stopped,
      usage: { ...tokenUsage(model, policy, ids.length, cachedTokens, all), ...prepared.drafts },
      seed: prepared.sampler.seed,
      score: hypothesis.score,
      prefillMs,
      decodeMs,
    });
  }
  const [best] = results as [GenerationResult];
  new FillWatch(request).tell(() => best.usage);
  return answers === undefined ? best : { ...best, answers: results };
}

/** Searches, and gives back what that takes. */
async function search(
  model: LoadedModel,
  prepared: PreparedGeneration,
  decoding: DecodeOptions,
  { forks, spent, held }: { readonly forks: Forks; readonly spent: Spent; readonly held: Held },
): Promise<readonly Hypothesis[]> {
  const { ids, maxTokens, request } = prepared;
  const { beams = 1, lengthPenalty = 1, logprobs, signal } = request;
  const sequences = [forks.first];
  held.push({
    release: () => {
      model.leave(forks.first);
      for (const sequence of sequences) sequence.release();
    },
  });
  const others = () => {
    spent.prefilled();
    sequences.push(...forks.others());
    return sequences.slice(1);
  };
  const { endOfGeneration } = model.tokenizer.vocabulary;
  const isEnd = (id: number) => request.ignoreEos !== true && endOfGeneration.has(id);
  const isStopped = (choices: readonly TokenChoice[]) => {
    if (request.stop === undefined) return false;
    const answer = new Answer(model, prepared, decoding);
    for (const _ of answer.all(choices)) if (answer.stopped !== undefined) return true;
    return false;
  };
  try {
    return await beamSearch(model, forks.first, others, {
      ...{ ids, beams, lengthPenalty, maxTokens, logprobs, isEnd, isStopped, signal },
    });
  } finally {
    for (const each of held.splice(0)) each.release();
  }
}
