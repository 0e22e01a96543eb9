// How the next token comes: chosen by the GPU ahead of the text, or by the sampler from what the GPU found likeliest.

import type { Sequence } from "../../context/cache/sequence.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import type { TokenChoice } from "../sampler/sampler.ts";
import { chosenTokens } from "./chosen-tokens.ts";
import type { PreparedGeneration } from "./generation-request.ts";
import { prefill } from "./prefill.ts";

/**
 * The tokens that follow a text, at most `maxTokens`: `ids` has to grow by each before the next is asked for. Ends early if
 * the signal is raised.
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
 * Whether steps may be ahead of the text. What the GPU can choose alone need not wait for the host; but steps ahead may forget
 * what the next text, which goes on from the end of this one, should see.
 */
function isGpuChoice({ policy, request }: PreparedGeneration): boolean {
  const isWithdrawable = !request.prefixCache || policy.window === Number.POSITIVE_INFINITY;
  return request.logprobs === undefined && request.cache !== false && isWithdrawable;
}

/** Appends tokens and chooses the next one: from the likeliest of them, or from all if these are too few. */
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
