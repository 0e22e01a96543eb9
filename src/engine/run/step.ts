// A step, what runs on the GPU at once, as a value.

import type { Sequence } from "../../context/cache/sequence.ts";
import { FEW } from "../../kernels/adapter/target.ts";
import type { Draw } from "../../kernels/choice/choice.ts";
import type { TokenLogprob, TopLogits } from "../sampler/sampler.ts";
import type { AttentionRow } from "./attention-probe.ts";

/**
 * The result wanted of a sequence's rows in a step. Their keys and values are stored in any case.
 */
export type Wanted<R = unknown> =
  | { readonly kind: "nothing" }
  /** The logits [rows, V] after the last `rows` tokens. */
  | { readonly kind: "logits"; readonly rows: number }
  /**
   * The `keep` likeliest tokens after the last, or a few more, for `use`; the logits [V] if it makes
   * nothing of them.
   */
  | {
      readonly kind: "top";
      readonly keep: number;
      readonly use: (top: TopLogits) => R | undefined;
    }
  /** A token after the last, chosen by the GPU. */
  | { readonly kind: "choice"; readonly draw: Draw }
  /** A token after each of the last `rows` tokens, at most 16, chosen by the GPU. */
  | { readonly kind: "choices"; readonly draw: Draw; readonly rows: number }
  /**
   * The likeliest tokens after each of the last tokens, at most 16: `keep` of them, or a few more, by
   * row. Nothing for a row whose list would be too long, or whose logits are no numbers.
   */
  | { readonly kind: "lists"; readonly keep: readonly number[] }
  /**
   * The hidden states [T, D] behind the first `depth` layers. The sequence holds nothing for later
   * layers to go on from.
   */
  | { readonly kind: "hidden"; readonly depth: number }
  /** What each token attends to in a layer, at most `attentionRowsOf` tokens at a time. */
  | { readonly kind: "attention"; readonly layer: number };

/** A token that the GPU chooses; it is returned before the step is done. */
export interface Choice {
  /**
   * Rejects with a `DeviceLostError` if the device is lost before it comes. The tokens of its step
   * are in the sequence then: take them back with `sequence.truncate` before they are appended again.
   */
  readonly choice: Promise<TokenLogprob>;
  /** Its id. It may be the token of the next step before it is read back. */
  readonly token: Promise<number>;
}

/** Whether what a step gave is a choice. */
export function isChoice(output: unknown): output is Choice {
  return typeof output === "object" && output !== null && "choice" in output;
}

/** The tokens of all choices, to refuse other promises as tokens of a step. */
export const chosenTokens = new WeakSet<Promise<number>>();

/** The result of a step, by what was wanted. */
export type Output<W extends Wanted> = W extends { readonly kind: "logits" | "hidden" }
  ? Float32Array
  : W extends Wanted<infer R> & { readonly kind: "top" }
    ? R | Float32Array
    : W extends { readonly kind: "choice" }
      ? Choice
      : W extends { readonly kind: "choices" }
        ? TokenLogprob[]
        : W extends { readonly kind: "lists" }
          ? (TopLogits | undefined)[]
          : W extends { readonly kind: "attention" }
            ? AttentionRow[]
            : undefined;

/** Rows of one sequence: the tokens to append, and what is wanted of them. */
export interface Rows<W extends Wanted = Wanted> {
  readonly sequence: Sequence;
  /** At most `sequence.stepLimit` ids, or the token that a step before has chosen. */
  readonly tokens: readonly number[] | Promise<number>;
  readonly wanted: W;
}

/** How many tokens rows have. */
export function countOf({ tokens }: Pick<Rows, "tokens">): number {
  return "length" in tokens ? tokens.length : 1;
}

/** The last rows of a piece whose logits are wanted. */
export function wantedRows({ wanted }: Pick<Rows, "wanted">): number {
  if (wanted.kind === "logits" || wanted.kind === "choices") return wanted.rows;
  if (wanted.kind === "lists") return wanted.keep.length;
  return wanted.kind === "top" || wanted.kind === "choice" ? 1 : 0;
}

/** Whether the GPU chooses tokens. */
export function isChosen(
  wanted: Wanted,
): wanted is Wanted & { readonly kind: "choice" | "choices" } {
  return wanted.kind === "choice" || wanted.kind === "choices";
}

/** The last rows of a piece whose likeliest tokens are wanted. */
export function listedRows({ wanted }: Pick<Rows, "wanted">): number {
  if (wanted.kind === "lists") return wanted.keep.length;
  return wanted.kind === "top" ? 1 : 0;
}

/** Whether something is wanted of each of a few rows: so tokens are verified that were guessed. */
export function isVerification(rows: Rows): boolean {
  const count = countOf(rows);
  return count > 1 && count <= FEW && wantedRows(rows) === count;
}

/**
 * Whether something between the layers is read of rows: other rows run with them only if the same is
 * read of these, and all of a piece runs at once.
 */
export function isBetween({ wanted }: Pick<Rows, "wanted">): boolean {
  return wanted.kind === "hidden" || wanted.kind === "attention";
}

/** Whether two rows may run in one step by what is wanted of them. */
export function areAlike({ wanted: a }: Pick<Rows, "wanted">, { wanted: b }: Pick<Rows, "wanted">) {
  if (a.kind !== "hidden" || b.kind !== "hidden")
    return !isBetween({ wanted: a }) && !isBetween({ wanted: b });
  return a.depth === b.depth;
}

/** What runs rows: an engine, or a part of one. */
export interface StepRunner {
  /** Undefined if the signal is raised first: the sequence may have some of the tokens then. */
  run<W extends Wanted>(rows: Rows<W>): Promise<Output<W>>;
  run<W extends Wanted>(
    rows: Rows<W>,
    signal: AbortSignal | undefined,
  ): Promise<Output<W> | undefined>;
}

/** What runs at once: rows of any sequences, each of which is in it once. */
export interface Step {
  readonly rows: readonly Rows[];
}

/** A step that has run, to be looked at. */
export interface StepReport {
  /** One for each text that had a part in it, in the order of their rows. */
  readonly pieces: readonly {
    /** Text position of its first token. */
    readonly position: number;
    readonly tokens: number;
    readonly wanted: Wanted["kind"];
  }[];
  /** Milliseconds until it was submitted, or what is wanted of it had come back. */
  readonly ms: number;
}

/** What rows have come to: an output, or an error of theirs alone. */
export type Outcome = PromiseSettledResult<unknown>;

/** The logits [V] after the last token. */
export const LAST_LOGITS: Wanted & { readonly kind: "logits" } = { kind: "logits", rows: 1 };

export const NOTHING: Wanted & { readonly kind: "nothing" } = { kind: "nothing" };
