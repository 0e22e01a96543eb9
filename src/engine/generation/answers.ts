// Several answers to one prompt, which is computed once.

import type { Prefix } from "../../context/cache/prefix-cache.ts";
import type { Sequence } from "../../context/cache/sequence.ts";
import type { Held } from "../run/abandoned.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import { NOTHING } from "../run/step.ts";
import { prefill } from "../tasks/prefill.ts";
import type { PreparedGeneration } from "./generation-request.ts";

/** Starts one of several generations. */
type Start<P, R> = (
  prepared: PreparedGeneration,
  held: Held,
  prefix: Prefix,
) => AsyncGenerator<P, R, void>;

/**
 * The pieces of answers as they come, each with the `index` of its answer, and all their results. The
 * tokens of the prompt but the last are computed once, and their pages are shared.
 */
export async function* answersTo<P extends object, R>(
  model: LoadedModel,
  prepared: readonly PreparedGeneration[],
  held: Held,
  start: Start<P, R>,
): AsyncGenerator<P & { readonly index: number }, R[], void> {
  const prompt = await computePrompt(model, prepared[0]!);
  const prefix: Prefix = { pagesFor: () => prompt.wholePages, take: () => prompt.fork() };
  const own = prepared.map((): Held => []);
  const release = () => {
    model.leave(prompt);
    prompt.release();
  };
  held.push({ release }, ...own.map((each) => ({ release: () => releaseAll(each) })));
  const results: R[] = [];
  const answers = prepared.map((each, i) => start(each, own[i]!, prefix));
  try {
    for await (const { index, step } of race(answers)) {
      if (step.done) results[index] = step.value;
      else yield { ...step.value, index };
    }
    return results;
  } finally {
    await Promise.all(answers.map((answer) => answer.return(undefined as never)));
    held.length = 0;
    release();
  }
}

/** A sequence with all tokens of a prompt but the last. It takes no place: its pages go if others need them. */
async function computePrompt(
  model: LoadedModel,
  { ids, policy, request: { signal } }: PreparedGeneration,
): Promise<Sequence> {
  const prompt = await model.admit({ ids, policy, signal, finds: true });
  try {
    const before = ids.slice(prompt.length, -1);
    if (before.length > 0) await prefill(model, prompt, before, NOTHING, signal);
  } catch (error) {
    prompt.release();
    throw error;
  }
  model.pause(prompt);
  return prompt;
}

function releaseAll(held: Held): void {
  for (const each of held) each.release();
}

/** What generators give, as it comes. */
async function* race<T, R>(
  generators: readonly AsyncGenerator<T, R, void>[],
): AsyncGenerator<{ readonly index: number; readonly step: IteratorResult<T, R> }, void, void> {
  const next = async (index: number) => ({ index, step: await generators[index]!.next() });
  const waiting = new Map(generators.map((_, index) => [index, next(index)]));
  while (waiting.size > 0) {
    const first = await Promise.race(waiting.values());
    if (first.step.done) waiting.delete(first.index);
    else waiting.set(first.index, next(first.index));
    yield first;
  }
}
