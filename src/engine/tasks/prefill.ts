import type { PageTable } from "../../context/cache/page-table.ts";
import type { LoadedModel } from "../model/model-state.ts";

/**
 * Appends tokens to a sequence in as many steps as it takes. Returns the logits [V] after the last one, or nothing
 * where the signal was raised between two steps.
 */
export function append<S extends AbortSignal | undefined = undefined>(
  model: LoadedModel,
  sequence: PageTable,
  tokens: readonly number[],
  signal?: S,
): Promise<Float32Array | (S extends undefined ? never : undefined)> {
  return appendAnd(model, sequence, tokens, signal, (part) => model.step(sequence, part, 1));
}

/** The same, but that `last` takes the last of the steps. */
export async function appendAnd<R, S extends AbortSignal | undefined>(
  model: LoadedModel,
  sequence: PageTable,
  tokens: readonly number[],
  signal: S,
  last: (tokens: readonly number[]) => Promise<R>,
): Promise<R | (S extends undefined ? never : undefined)> {
  for (let at = 0; ; ) {
    const part = tokens.slice(at, at + model.stepLimit(sequence));
    at += part.length;
    if (at === tokens.length) return last(part);
    await model.step(sequence, part, 0);
    if (signal?.aborted) return undefined as S extends undefined ? never : undefined;
  }
}
