// How the next token is chosen: by the GPU, with steps queued ahead, or by the sampler out of the
// likeliest tokens; one by one, or several at a time with drafts (drafts/).

import type { Sequence } from "../../context/cache/sequence.ts";
import type { Draw } from "../../kernels/choice/choice.ts";
import { mostDrafted } from "../drafts/draft-option.ts";
import { ModelDrafter } from "../drafts/model-drafter.ts";
import { NgramDrafter } from "../drafts/ngram-drafter.ts";
import { verifiedTokens } from "../drafts/verified-tokens.ts";
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
  const draw = drawOf(prepared);
  let last = first.id;
  if (request.draft) {
    text.push(last);
    if (!isEnd(last)) yield* drafted(model, sequence, prepared, { text, isEnd, signal });
    return;
  }
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

/** How the GPU can choose alone, so that its choices need not wait for the host. */
function drawOf(prepared: PreparedGeneration): Draw | undefined {
  const isAlone = prepared.request.logprobs === undefined && mayReadAhead(prepared);
  return isAlone ? prepared.sampler.draw : undefined;
}

/** A text that goes on, and when it ends. */
interface Going {
  /** With the last token, which is not in the sequence yet. */
  readonly text: number[];
  readonly isEnd: (id: number) => boolean;
  readonly signal: AbortSignal;
}

/** The tokens that follow the first one, with drafts. */
function drafted(
  model: LoadedModel,
  sequence: Sequence,
  prepared: PreparedGeneration,
  { text, isEnd, signal }: Going,
): AsyncGenerator<TokenChoice, void, void> {
  const { sampler, maxTokens, drafts: counts, request } = prepared;
  const draft = request.draft!;
  return verifiedTokens(model, sequence, {
    drafter:
      "engine" in draft
        ? new ModelDrafter(draft.engine, sampler.noise, signal)
        : new NgramDrafter(),
    mostDrafted: mostDrafted(draft),
    text,
    budget: maxTokens - 1,
    draw: drawOf(prepared),
    sampler,
    logprobs: request.logprobs,
    next: () => nextChoice(model, sequence, text.slice(-1), text, { ...prepared, signal }),
    isEnd,
    counts,
    signal,
  });
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
