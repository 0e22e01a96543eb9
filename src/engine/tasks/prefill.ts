import { partsOf, type Sequence } from "../../context/cache/sequence.ts";
import { NOTHING, type Output, type StepRunner, type Wanted } from "../run/step.ts";

/**
 * Appends tokens to a sequence in as many steps as needed, and returns the wanted result of the
 * last; undefined if the signal is aborted between two steps.
 */
export function prefill<W extends Wanted>(
  model: StepRunner,
  sequence: Sequence,
  ids: readonly number[],
  wanted: W,
): Promise<Output<W>>;
export function prefill<W extends Wanted>(
  model: StepRunner,
  sequence: Sequence,
  ids: readonly number[],
  wanted: W,
  signal: AbortSignal | undefined,
): Promise<Output<W> | undefined>;
export async function prefill<W extends Wanted>(
  model: StepRunner,
  sequence: Sequence,
  ids: readonly number[],
  wanted: W,
  signal?: AbortSignal,
): Promise<Output<W> | undefined> {
  if (ids.length === 0) throw new Error("there is nothing to append");
  for (const { tokens, isLast } of partsOf(ids, () => sequence.stepLimit)) {
    if (isLast) return model.run({ sequence, tokens, wanted });
    await model.run({ sequence, tokens, wanted: NOTHING });
    if (signal?.aborted) break;
  }
  return undefined;
}
