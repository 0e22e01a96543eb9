// Where the drafts of a generation come from, as a user says it.

import type { Sequence } from "../../context/cache/sequence.ts";
import type { AttentionPolicy } from "../../context/positions/attention-policy.ts";
import { UserError } from "../../errors.ts";
import { FEW } from "../../kernels/adapter/target.ts";
import { hasMethods, invalid, isRecord, type Reader, whole } from "../../option-reader.ts";
import type { OpenedModel } from "../model/opened-model.ts";
import type { StepRunner } from "../run/step.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { Vocabulary } from "../tokenizer/vocabulary.ts";

/** The most tokens of a draft: with the token before them they are the rows of a step. */
export const MOST_DRAFTED: number = FEW - 1;

/** What drafts with a smaller model take of its engine. */
export interface DraftEngine extends StepRunner {
  readonly tokenizer: Tokenizer;
  readonly setting: OpenedModel["setting"];
  readonly loaded: { readonly stepsAhead: number };
  sequence(policy?: AttentionPolicy): Sequence;
}

/** Where drafts come from, and the most tokens of one, 1 to 15. */
export type DraftChoice =
  /** The text itself: what followed its last tokens when they came before. As text: "ngram:7". */
  | { readonly kind: "ngram"; readonly tokens?: number | undefined }
  /** Another model of the same vocabulary. */
  | { readonly engine: DraftEngine; readonly tokens?: number | undefined };

/** Tokens of a draft at most, unless it is said. */
const USUAL = 15;

/** The most tokens of a draft. */
export function mostDrafted({ tokens = USUAL }: DraftChoice): number {
  return tokens;
}

export type DraftText = "ngram" | `ngram:${number}`;

const EXPECTED =
  '"ngram", "ngram:K" with K from 1 to 15, another loaded engine, or { engine, tokens }';

/** Reads "ngram", "ngram:7", an engine or `{ engine, tokens }`. */
export const draftReader: Reader<DraftChoice> = (value, name) => {
  if (typeof value === "string") {
    const [, tokens] = /^ngram(?::(\d+))?$/.exec(value) ?? ["", "0"];
    if (tokens === undefined) return { kind: "ngram" };
    if (isCount(Number(tokens))) return { kind: "ngram", tokens: Number(tokens) };
    throw invalid(name, value, EXPECTED, ["ngram"]);
  }
  if (isEngine(value)) return { engine: value };
  if (!isRecord(value)) throw invalid(name, value, EXPECTED);
  const { kind, engine, tokens, ...others } = value;
  const isOne = kind === undefined ? isEngine(engine) : kind === "ngram" && engine === undefined;
  if (!isOne || Object.keys(others).length > 0) throw invalid(name, value, EXPECTED);
  if (tokens !== undefined) whole(1, MOST_DRAFTED)(tokens, `${name}.tokens`);
  return value as unknown as DraftChoice;
};

function isCount(tokens: number): boolean {
  return tokens >= 1 && tokens <= MOST_DRAFTED;
}

function isEngine(value: unknown): value is DraftEngine {
  return hasMethods(value, "sequence", "run") && "tokenizer" in (value as object);
}

/** Throws a `UserError` if drafts cannot be for texts of a model. */
export function checkDraft(
  { tokenizer }: OpenedModel,
  draft: DraftChoice | undefined,
  cache: boolean | undefined,
): void {
  if (!draft) return;
  if (cache === false) {
    throw new UserError("Drafts are verified by means of the cache: leave out draft or cache.");
  }
  if (!("engine" in draft)) return;
  if (draft.engine.tokenizer === tokenizer) {
    throw new UserError(
      "The draft's engine is the text's own: give a smaller model, or \"ngram\".",
    );
  }
  sameVocabulary(tokenizer, draft.engine.tokenizer);
}

/** Throws a `UserError` if the model that drafts has other tokens than that of the text. */
export function sameVocabulary(own: Tokenizer, other: Tokenizer): void {
  const different = firstDifference(own.vocabulary, other.vocabulary);
  if (different === undefined) return;
  throw new UserError(
    `The draft's model has another vocabulary (${different}): its ids mean others.`,
  );
}

/** Pairs that were found equal: a large vocabulary takes milliseconds. */
const equals = new WeakMap<Vocabulary, WeakSet<Vocabulary>>();

/** In what two vocabularies differ, in words; undefined if they are the same. */
function firstDifference(own: Vocabulary, other: Vocabulary): string | undefined {
  const known = equals.get(own) ?? new WeakSet();
  if (known.has(other)) return undefined;
  if (own.size !== other.size) return `${other.size} tokens, not ${own.size}`;
  for (let id = 0; id < own.size; id++) {
    const [mine, its] = [own.text(id), other.text(id)];
    if (mine !== its) return `token ${id} is ${JSON.stringify(its)}, not ${JSON.stringify(mine)}`;
  }
  equals.set(own, known.add(other));
  return undefined;
}
