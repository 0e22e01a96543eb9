// Decoding without waiting: steps are queued ahead, each on the token that the GPU chooses in the
// step before.

import type { Sequence } from "../../context/cache/sequence.ts";
import type { Draw } from "../../kernels/choice/choice.ts";
import { DeviceLostError } from "../../kernels/gpu/device.ts";
import { DeviceGoneError } from "../run/recovery.ts";
import type { Choice, Rows, StepRunner } from "../run/step.ts";
import type { TokenLogprob } from "../sampler/sampler.ts";

/**
 * Appends `first` and then each chosen token to a sequence, and yields at most `budget` chosen
 * tokens. At most `ahead` steps are in flight, so a caller that stops early may find a few more
 * tokens in the sequence than it was given.
 */
export async function* chosenTokens(
  model: StepRunner,
  sequence: Sequence,
  { draw, first, budget, ahead, signal }: ChosenRun,
): AsyncGenerator<TokenLogprob, void, void> {
  const start = sequence.ids.length;
  const wanted = { kind: "choice", draw } as const;
  let next: readonly number[] = typeof first === "number" ? [first] : first;
  const before = start + next.length - 1;
  for (let given = 0; given < budget; ) {
    const onTheirWay: Choice[] = [];
    let tokens: Rows["tokens"] = next;
    try {
      for (let submitted = given; given < budget; ) {
        for (; submitted < Math.min(budget, given + ahead); submitted++) {
          const step: Choice | undefined = await model.run({ sequence, tokens, wanted }, signal);
          if (!step) return;
          tokens = step.token;
          onTheirWay.push(step);
        }
        const { choice, token } = onTheirWay.shift()!;
        const chosen = await choice;
        next = [await token]; // settles after the sequence has added the id to its own
        given++;
        yield chosen;
      }
    } catch (error) {
      if (!(error instanceof DeviceLostError) || error instanceof DeviceGoneError) throw error;
      sequence.discard(given === 0 ? start : before + given); // keep the text before `next`
    }
  }
}

/** How to choose tokens, and how many. */
interface ChosenRun {
  readonly draw: Draw;
  /** The token, or the few, that the first of them follows. */
  readonly first: number | readonly number[];
  /** The most tokens to yield. */
  readonly budget: number;
  /** The most steps in flight. */
  readonly ahead: number;
  /** Ends the run before the next step. */
  readonly signal?: AbortSignal | undefined;
}
