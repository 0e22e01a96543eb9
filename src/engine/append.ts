import type { PageTable } from "../context/cache/page-table.ts";
import type { LoadedModel } from "./model-state.ts";

/**
 * Appends tokens to a sequence in as many steps as it takes. Returns the logits [V] after the last one, or nothing
 * where the signal was raised between two steps.
 */
export async function append<S extends AbortSignal | undefined = undefined>(
  model: LoadedModel,
  sequence: PageTable,
  tokens: readonly number[],
  signal?: S,
): Promise<Float32Array | (S extends undefined ? never : undefined)> {
  for (let at = 0; ; ) {
    const part = tokens.slice(at, at + model.stepLimit(sequence));
    at += part.length;
    const last = at === tokens.length;
    const logits = await model.step(sequence, part, last ? 1 : 0);
    if (last) return logits;
    if (signal?.aborted) return undefined as S extends undefined ? never : undefined;
  }
}
