// Tokens of a text, in as many steps as they take.
// In this room: what is asked of a model beside generated text, and the checks and the prefill that
// all requests share. Not in it: generation (generation/), and what a step computes (run/).

import { partsOf, type Sequence } from "../../context/cache/sequence.ts";
import { NOTHING, type Output, type StepRunner, type Wanted } from "../run/step.ts";

/**
 * Appends tokens to a sequence in as many steps as it takes, of which the last gives what is wanted; nothing if the signal is
 * raised before the last.
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
    if (isLast) return model.run({ sequence, tokens, wanted }, signal);
    await model.run({ sequence, tokens, wanted: NOTHING }, signal);
    if (signal?.aborted) break;
  }
  return undefined;
}
