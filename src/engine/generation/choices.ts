// How the next token is chosen: by the GPU, with steps queued ahead, or by the sampler out of the
// likeliest tokens.

import type { Sequence } from "../../context/cache/sequence.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import type { TokenChoice, TopLogits } from "../sampler/sampler.ts";
import { prefill } from "../tasks/prefill.ts";
import { chosenTokens } from "./chosen-tokens.ts";
import type { PreparedGeneration } from "./generation-request.ts";

/**
 * The tokens that follow a text, at most `maxTokens`: they end with the one that ends a generation, or
 * if the signal is raised.
 */
export async function* choices(
  model: LoadedModel,
  sequence: Sequence,
  prepared: PreparedGeneration,
  signal: AbortSignal,
): AsyncGenerator<TokenChoice, void, void> {
  const { maxTokens, request } = prepared;
  const text = [...prepared.ids];
  const isEnd = (id: number) =>
    !request.ignoreEos && model.tokenizer.vocabulary.endOfGeneration.has(id);
  const first = await nextChoice(model, sequence, text.slice(sequence.ids.length), text, {
    ...prepared,
    signal,
  });
  if (!first) return;
  yield first;
  const draw = isGpuChoice(prepared) ? prepared.sampler.draw : undefined;
  let last = first.id;
  if (draw) {
    if (isEnd(last)) return;
    const run = { draw, first: last, budget: maxTokens - 1, ahead: model.stepsAhead, signal };
    for await (const choice of chosenTokens(model, sequence, run)) {
      yield choice;
      if (signal.aborted || isEnd(choice.id)) return;
    }
    return;
  }
  for (let count = 1; count < maxTokens && !signal.aborted && !isEnd(last); count++) {
    text.push(last);
    if (request.cache === false) sequence.clear();
    const pending = request.cache === false ? text : [last];
    const choice = await nextChoice(model, sequence, pending, text, { ...prepared, signal });
    if (!choice) return;
    yield choice;
    last = choice.id;
  }
}

/**
 * Whether tokens may be computed before they are asked for. Such steps may forget what the next text,
 * which goes on from the end of this one, should see; and without a cache they cost too much.
 */
export function mayReadAhead({ policy, request }: PreparedGeneration): boolean {
  const isWithdrawable = !request.prefixCache || policy.window === Number.POSITIVE_INFINITY;
  return request.cache !== false && isWithdrawable;
}

/** Whether the GPU can choose alone, so that its choices need not wait for the host. */
function isGpuChoice(prepared: PreparedGeneration): boolean {
  return prepared.request.logprobs === undefined && mayReadAhead(prepared);
}

/** Appends tokens and chooses the one after `text`: from the likeliest, or from all if these are too few. */
async function nextChoice(
  model: LoadedModel,
  sequence: Sequence,
  tokens: readonly number[],
  text: readonly number[],
  { sampler, request: { logprobs }, signal }: PreparedGeneration & { readonly signal: AbortSignal },
): Promise<TokenChoice | undefined> {
  const keep = sampler.wants(text, logprobs);
  const use = (top: TopLogits) => sampler.sampleTop(top, text, logprobs);
  const wanted =
    keep === undefined
      ? ({ kind: "logits", rows: 1 } as const)
      : ({ kind: "top", keep, use } as const);
  const found = await prefill(model, sequence, tokens, wanted, signal);
  return found instanceof Float32Array ? sampler.sample(found, text, logprobs) : found;
}
