// How the next token is chosen: by the GPU, with steps queued ahead, or by the sampler out of the
// likeliest tokens.

import type { Sequence } from "../../context/cache/sequence.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import type { TokenChoice } from "../sampler/sampler.ts";
import { chosenTokens } from "./chosen-tokens.ts";
import type { PreparedGeneration } from "./generation-request.ts";
import { prefill } from "./prefill.ts";

/**
 * Yields the tokens that follow a text, at most `maxTokens`. The caller appends each to `ids`
 * before it asks for the next. Ends early if the signal is aborted.
 */
export async function* choices(
  model: LoadedModel,
  sequence: Sequence,
  prepared: PreparedGeneration,
): AsyncGenerator<TokenChoice, void, void> {
  const { ids, maxTokens, request } = prepared;
  const isAborted = () => request.signal?.aborted ?? false;
  if (isAborted()) return;
  const first = await nextChoice(model, sequence, ids.slice(sequence.length), prepared);
  if (!first) return;
  yield first;
  const draw = isGpuChoice(prepared) ? prepared.sampler.draw : undefined;
  if (draw) {
    const run = { draw, first: first.id, budget: maxTokens - 1, ahead: model.stepsAhead };
    if (isAborted()) return;
    for await (const choice of chosenTokens(model, sequence, run)) {
      yield choice;
      if (isAborted()) return;
    }
    return;
  }
  for (let count = 1; count < maxTokens && !isAborted(); count++) {
    if (request.cache === false) sequence.clear();
    const pending = request.cache === false ? ids.slice() : [ids.at(-1)!];
    const choice = await nextChoice(model, sequence, pending, prepared);
    if (!choice) return;
    yield choice;
  }
}

/**
 * Whether the GPU chooses, with steps queued ahead of the text. Not if the text is kept in a prefix
 * cache under a policy that forgets: steps ahead would evict what the next text should see.
 */
function isGpuChoice({ policy, request }: PreparedGeneration): boolean {
  const isWithdrawable = !request.prefixCache || policy.window === Number.POSITIVE_INFINITY;
  return request.logprobs === undefined && request.cache !== false && isWithdrawable;
}

/**
 * Appends tokens and samples the next one: from the likeliest, or from all logits if these are too
 * few.
 */
async function nextChoice(
  model: LoadedModel,
  sequence: Sequence,
  tokens: readonly number[],
  { sampler, ids, request: { logprobs, signal } }: PreparedGeneration,
): Promise<TokenChoice | undefined> {
  const keep = sampler.wants(ids, logprobs);
  const use = (top: Parameters<typeof sampler.sampleTop>[0]) =>
    sampler.sampleTop(top, ids, logprobs);
  const found =
    keep === undefined
      ? await prefill(model, sequence, tokens, { kind: "logits", rows: 1 }, signal)
      : await prefill(model, sequence, tokens, { kind: "top", keep, use }, signal);
  return found instanceof Float32Array ? sampler.sample(found, ids, logprobs) : found;
}
