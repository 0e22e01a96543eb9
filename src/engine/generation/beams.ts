// Beam search: several texts grow side by side, and the likeliest whole text is chosen, not the
// likeliest token each time.
//
// After each step, the likeliest B continuations of all beams go on: a beam with two of them is
// forked, pages and all, and one with none is given up. A beam ends with a token that ends a
// generation, or with a stop string. The score of a text is the sum of its log-probabilities over
// length^lengthPenalty, its last token included (Wu et al., arXiv:1609.08144, section 7, with
// the plain power that Hugging Face takes). The search ends when B texts have ended that no beam
// can surpass at its present length.

import type { Sequence } from "../../context/cache/sequence.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import { likeliest, type TokenChoice, type TopLogits } from "../sampler/sampler.ts";
import { logSumExp } from "../sampler/softmax.ts";
import { prefill } from "../tasks/prefill.ts";
import type { FinishReason } from "./generation-result.ts";

/** A text that beam search has found. */
export interface Hypothesis {
  /** Its tokens, without the one that ended the generation. */
  readonly choices: readonly TokenChoice[];
  /** The sum of log-probabilities over length^lengthPenalty. */
  readonly score: number;
  readonly finishReason: FinishReason;
}

export interface BeamOptions {
  /** The prompt. */
  readonly ids: readonly number[];
  /** B */
  readonly beams: number;
  readonly lengthPenalty: number;
  readonly maxTokens: number;
  /** How many of the likeliest tokens to list with each choice. */
  readonly logprobs: number | undefined;
  readonly isEnd: (id: number) => boolean;
  /** Whether a text has a stop string. */
  readonly isStopped: (choices: readonly TokenChoice[]) => boolean;
  readonly signal: AbortSignal | undefined;
}

interface Beam {
  readonly sequence: Sequence;
  readonly choices: readonly TokenChoice[];
  /** Sum of log-probabilities. */
  readonly sum: number;
}

/** A beam and one more token. */
interface Candidate {
  readonly beam: Beam;
  readonly choice: TokenChoice;
  readonly sum: number;
}

/**
 * The likeliest texts that follow a prompt, at most B, the best first. `first` holds none or some of
 * the prompt; `others()` are B - 1 forks of it.
 */
export async function beamSearch(
  model: LoadedModel,
  first: Sequence,
  others: () => readonly Sequence[],
  options: BeamOptions,
): Promise<readonly Hypothesis[]> {
  const { ids, beams, logprobs, maxTokens, signal } = options;
  const keep = Math.min(model.config.vocabulary, Math.max(2 * beams, logprobs ?? 0));
  const wanted = { kind: "top", keep, use: (top: TopLogits) => top } as const;
  const ended = new Ended(options);
  let live: Beam[] = [{ sequence: first, choices: [], sum: 0 }];
  let tops: (TopLogits | Float32Array | undefined)[] = [
    await prefill(model, first, ids.slice(first.length), wanted, signal),
  ];
  const sequences = [first, ...others()];
  for (let length = 1; ; length++) {
    if (signal?.aborted || tops.includes(undefined)) {
      return ended.with(live, length - 1, "aborted");
    }
    const candidates = live.flatMap((beam, i) => continuations(beam, tops[i]!, keep, options));
    candidates.sort((a, b) => b.sum - a.sum);
    const next = ended.take(candidates.slice(0, 2 * beams));
    live = grow(next, sequences);
    if (ended.isDone(live, length)) return ended.best;
    if (length === maxTokens) return ended.with(live, length, "length");
    tops = await Promise.all(
      live.map(({ sequence, choices }) =>
        model.run({ sequence, tokens: [choices.at(-1)!.id], wanted }),
      ),
    );
  }
}

/** A beam with each of its likeliest next tokens. */
function continuations(
  beam: Beam,
  found: TopLogits | Float32Array,
  keep: number,
  { logprobs }: BeamOptions,
): Candidate[] {
  const { ids, logits, logSum } = found instanceof Float32Array ? topOf(found, keep) : found;
  const all = Array.from(ids, (id, i) => ({ id, logprob: logits[i]! - logSum }));
  const top = logprobs === undefined ? {} : { top: all.slice(0, logprobs) };
  return all
    .slice(0, keep)
    .map((choice) => ({ beam, choice: { ...choice, ...top }, sum: beam.sum + choice.logprob }));
}

function topOf(all: Float32Array, keep: number): TopLogits {
  const ids = Uint32Array.from(likeliest(all, keep));
  return { ids, logits: Float32Array.from(ids, (id) => all[id]!), logSum: logSumExp(all) };
}

/**
 * The beams of the next step. Each goes on in the sequence of the beam that it continues, or, if
 * another does already, in one whose beam was given up.
 */
function grow(next: readonly Candidate[], sequences: readonly Sequence[]): Beam[] {
  const parents = new Set(next.map(({ beam }) => beam.sequence));
  const free = sequences.filter((sequence) => !parents.has(sequence));
  const taken = new Set<Sequence>();
  return next.map(({ beam, choice, sum }) => {
    let { sequence } = beam;
    if (taken.has(sequence)) {
      sequence = free.pop()!;
      sequence.become(beam.sequence);
    }
    taken.add(sequence);
    return { sequence, choices: [...beam.choices, choice], sum };
  });
}

/** Texts that have ended, at most B, the best first. */
class Ended {
  readonly #options: BeamOptions;
  readonly #all: Hypothesis[] = [];

  constructor(options: BeamOptions) {
    this.#options = options;
  }

  /** Takes out of candidates, the likeliest first, the texts that end; returns at most B others. */
  take(candidates: readonly Candidate[]): Candidate[] {
    const { beams, isEnd, isStopped } = this.#options;
    const next: Candidate[] = [];
    for (const [rank, candidate] of candidates.entries()) {
      const { beam, choice, sum } = candidate;
      const choices = [...beam.choices, choice];
      const isOver = isEnd(choice.id);
      // An end that is not among the B likeliest is none of the beams'.
      if (isOver && rank < beams) this.add({ ...beam, sum }, choices.length, "eos");
      else if (!isOver && isStopped(choices)) this.add({ choices, sum }, choices.length, "stop");
      else if (!isOver && next.length < beams) next.push(candidate);
    }
    return next;
  }

  /** The best of these and of beams that the search leaves at a length. */
  with(live: readonly Beam[], length: number, reason: "length" | "aborted"): readonly Hypothesis[] {
    for (const beam of live) this.add(beam, length, reason);
    return this.#all;
  }

  add(
    { choices, sum }: Pick<Beam, "choices" | "sum">,
    length: number,
    finishReason: FinishReason,
  ): void {
    const score = sum / Math.max(1, length) ** this.#options.lengthPenalty;
    this.#all.push({ choices, score, finishReason });
    this.#all.sort((a, b) => b.score - a.score);
    this.#all.splice(this.#options.beams);
  }

  /** Whether no beam of this length would be among the best. */
  isDone(live: readonly Beam[], length: number): boolean {
    const { beams, lengthPenalty } = this.#options;
    if (live.length === 0) return true;
    if (this.#all.length < beams) return false;
    const best = Math.max(...live.map(({ sum }) => sum / length ** lengthPenalty));
    return this.#all.at(-1)!.score >= best;
  }

  get best(): readonly Hypothesis[] {
    return this.#all;
  }
}
