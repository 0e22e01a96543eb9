// Decoding with drafts: the last token and those that are guessed to follow it are rows of one step, and
// each row chooses as if it were alone. Up to the first choice that was not guessed, all are the text's.

import type { Sequence } from "../../context/cache/sequence.ts";
import { FEW } from "../../kernels/adapter/target.ts";
import type { Draw } from "../../kernels/choice/choice.ts";
import type { DraftUsage } from "../generation/token-usage.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import { NotFiniteError } from "../run/not-finite.ts";
import type { Sampler, TokenChoice } from "../sampler/sampler.ts";
import { DraftLength } from "./draft-length.ts";
import type { Drafter } from "./drafter.ts";

/** How to choose tokens, and how many. */
export interface VerifiedRun {
  readonly drafter: Drafter;
  /** The most tokens of a draft. */
  readonly mostDrafted: number;
  /** Prompt and answer so far; grows by what is chosen. */
  readonly text: number[];
  /** The most tokens to yield. */
  readonly budget: number;
  /** How the GPU can choose alone; undefined if the sampler has to. */
  readonly draw: Draw | undefined;
  readonly sampler: Sampler;
  readonly logprobs: number | undefined;
  /** Appends the last token of the text and chooses the one after it, by the sampler. */
  readonly next: () => Promise<TokenChoice | undefined>;
  readonly isEnd: (id: number) => boolean;
  /** Counts what is drafted. */
  readonly counts: { -readonly [K in keyof DraftUsage]: DraftUsage[K] };
  /** Ends the run before the next step. */
  readonly signal: AbortSignal;
}

/**
 * Yields at most `budget` tokens that follow a text, whose last token is not in the sequence yet; they
 * end with the one that ends a generation, or if the signal is raised. They are those that are chosen
 * one by one (Leviathan et al., "Fast Inference from Transformers via Speculative Decoding", 2023; a
 * token is a function of its logits and position here, so that what is verified is equality).
 */
export async function* verifiedTokens(
  model: LoadedModel,
  sequence: Sequence,
  run: VerifiedRun,
): AsyncGenerator<TokenChoice, void, void> {
  const { text, budget, drafter, isEnd, counts, signal } = run;
  const length = new DraftLength(run.mostDrafted);
  try {
    for (let given = 0; given < budget && !signal.aborted; ) {
      const room = Math.min(roomOf(model, sequence), budget - given - 1);
      const most = room < 1 ? 0 : Math.min(room, length.take());
      const draft = most < 1 ? [] : await drafter.propose(text, most);
      const choices = await chosen(model, sequence, run, draft);
      if (choices.length === 0) return;
      if (draft.length > 0) {
        const accepted = draft.findIndex((id, i) => id !== choices[i]?.id);
        const right = accepted < 0 ? draft.length : accepted;
        length.tell(draft.length, right);
        counts.draftTokens += draft.length;
        counts.acceptedTokens += right;
      }
      for (const choice of choices) {
        text.push(choice.id);
        given++;
        yield choice;
        if (signal.aborted || isEnd(choice.id)) return;
      }
    }
  } finally {
    drafter.release();
  }
}

/** The most tokens that may be drafted now: rows whose sums do not depend on how many they are. */
function roomOf(model: LoadedModel, sequence: Sequence): number {
  const { limits } = model.session.runner;
  return Math.min(FEW, limits.logits, limits.lists, sequence.stepLimit) - 1;
}

/**
 * The tokens that a step gives: those of the draft that are right, and the one after them. None if the
 * signal is raised first. The sequence has all but the last of them then.
 */
async function chosen(
  model: LoadedModel,
  sequence: Sequence,
  run: VerifiedRun,
  draft: readonly number[],
): Promise<readonly TokenChoice[]> {
  const { length } = run.text;
  if (draft.length > 0) {
    const choices = await verified(model, sequence, run, draft);
    if (!sequence.truncate(length + choices.length - 1)) {
      throw new Error("a draft has made a sequence forget what its text needs");
    }
    if (choices.length > 0 || run.signal.aborted) return choices;
  }
  const choice = run.draw ? await single(model, sequence, run, run.draw) : await run.next();
  return choice ? [choice] : [];
}

async function single(
  model: LoadedModel,
  sequence: Sequence,
  { text, signal }: VerifiedRun,
  draw: Draw,
): Promise<TokenChoice | undefined> {
  const wanted = { kind: "choices", draw, rows: 1 } as const;
  const choices = await model.run({ sequence, tokens: text.slice(-1), wanted }, signal);
  return choices?.[0];
}

/**
 * Appends the last token and a draft, and chooses after each of them, as far as the draft is right.
 * None if the first row needs a step of its own.
 */
async function verified(
  model: LoadedModel,
  sequence: Sequence,
  run: VerifiedRun,
  draft: readonly number[],
): Promise<TokenChoice[]> {
  const choose = await rowsOf(model, sequence, run, [run.text.at(-1)!, ...draft]);
  const choices: TokenChoice[] = [];
  for (let row = 0; row <= draft.length; row++) {
    const choice = attempt(row, () => choose(row, [...run.text, ...draft.slice(0, row)]));
    if (!choice) break; // the next step has it as its first row
    choices.push(choice);
    if (choice.id !== draft[row] || run.isEnd(choice.id)) break;
  }
  return choices;
}

/** What is wrong with a row behind the first is thrown when the tokens before it have been given. */
function attempt(row: number, choose: () => TokenChoice | undefined): TokenChoice | undefined {
  try {
    return choose();
  } catch (error) {
    if (row === 0) throw error;
    return undefined;
  }
}

/** Chooses after a row of a step; undefined if that takes a step of its own. */
type ChooseRow = (row: number, history: readonly number[]) => TokenChoice | undefined;

/** Computes the rows of tokens: as many as can be chosen in the same way. */
async function rowsOf(
  model: LoadedModel,
  sequence: Sequence,
  { draw, sampler, logprobs, text, signal }: VerifiedRun,
  tokens: readonly number[],
): Promise<ChooseRow> {
  if (draw) {
    const wanted = { kind: "choices", draw, rows: tokens.length } as const;
    const choices = await orNothing(model.run({ sequence, tokens, wanted }, signal));
    return (row) => choices?.[row];
  }
  const keep = tokens.map((_, row) => {
    return sampler.wants([...text, ...tokens.slice(1, 1 + row)], logprobs);
  });
  const other = keep.findIndex((each) => (each === undefined) !== (keep[0] === undefined));
  const rows = other < 0 ? tokens.length : other;
  if (keep[0] === undefined) {
    const wanted = { kind: "logits", rows } as const;
    const found = await orNothing(
      model.run({ sequence, tokens: tokens.slice(0, rows), wanted }, signal),
    );
    const V = model.config.vocabulary;
    return (row, history) => {
      if (!found || row >= rows) return undefined;
      return sampler.sample(found.subarray(row * V, (row + 1) * V), history, logprobs);
    };
  }
  const wanted = { kind: "lists", keep: keep.slice(0, rows) as number[] } as const;
  const lists = await model.run({ sequence, tokens: tokens.slice(0, rows), wanted }, signal);
  return (row, history) => {
    const list = lists?.[row];
    return list && sampler.sampleTop(list, history, logprobs);
  };
}

/** What rows give; nothing if logits of them are no numbers: a wrong guess may be the reason. */
async function orNothing<T>(rows: Promise<T>): Promise<T | undefined> {
  try {
    return await rows;
  } catch (error) {
    if (error instanceof NotFiniteError) return undefined;
    throw error;
  }
}
