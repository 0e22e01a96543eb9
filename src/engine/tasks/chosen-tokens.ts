// Decoding without waiting: steps are queued ahead, each on the token that the GPU chooses in the one before.

import type { Sequence } from "../../context/cache/sequence.ts";
import type { Draw } from "../../kernels/choice/choice.ts";
import { DeviceLostError } from "../../kernels/gpu/device.ts";
import { DeviceGoneError } from "../run/recovery.ts";
import type { Choice, Rows, StepRunner } from "../run/step.ts";
import type { TokenLogprob } from "../sampler/sampler.ts";

/**
 * The tokens that follow `first`, one after the other: it is appended to a sequence, and then each of them. No step is
 * submitted beyond `budget` of them, nor more than `ahead` before what has been given. Left early, the sequence may hold some
 * tokens more.
 */
export async function* chosenTokens(
  model: StepRunner,
  sequence: Sequence,
  { draw, first, budget, ahead, signal }: ChosenRun,
): AsyncGenerator<TokenLogprob, void, void> {
  const start = sequence.length;
  const wanted = { kind: "choice", draw } as const;
  let last = first;
  for (let given = 0; given < budget; ) {
    const onTheirWay: Choice[] = [];
    let tokens: Rows["tokens"] = [last];
    try {
      for (let submitted = given; given < budget; ) {
        for (; submitted < Math.min(budget, given + ahead); submitted++) {
          const next: Choice | undefined = await model.run({ sequence, tokens, wanted }, signal);
          if (!next) return;
          tokens = next.token;
          onTheirWay.push(next);
        }
        const { choice, token } = onTheirWay.shift()!;
        const chosen = await choice;
        last = await token; // what the sequence has been told as well, if the token has a place there
        given++;
        yield chosen;
      }
    } catch (error) {
      if (!(error instanceof DeviceLostError) || error instanceof DeviceGoneError) throw error;
      sequence.discard(start + given); // the text before `last`: it goes on from there
    }
  }
}

/** How tokens follow one another. */
interface ChosenRun {
  readonly draw: Draw;
  readonly first: number;
  /** The most tokens. */
  readonly budget: number;
  /** The most steps on their way at a time. */
  readonly ahead: number;
  /** Ends the run before the next step. */
  readonly signal?: AbortSignal | undefined;
}
