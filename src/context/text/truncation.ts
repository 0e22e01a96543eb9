// Cuts a text to a budget of tokens, counted by the model's own tokenizer: the cut text fits when
// it is tokenized again.

import { UserError } from "../../errors.ts";
import {
  having,
  needed,
  type Readers,
  readOptions,
  text as textReader,
  whole,
  word,
} from "../../option-reader.ts";
import type { TextTokenizer } from "./text-tokenizer.ts";

/**
 * Which part stays: the beginning of a text; its end; or both, with a marker instead of the middle.
 */
export type TruncationStrategy = "head" | "tail" | "middle";

/** Where it may be cut: between tokens (and never inside a character), sentences, or paragraphs. */
export type Border = "token" | "sentence" | "paragraph";

export interface TruncationOptions {
  /** Tokens in all. */
  readonly budget: number;
  /** Tokens of the budget that are left for an answer. Default: 0. */
  readonly reserve?: number | undefined;
  /** Default: "head". */
  readonly strategy?: TruncationStrategy | undefined;
  /** The text that replaces the middle. Default: " … ". */
  readonly marker?: string | undefined;
  /** Default: "token". If not even one sentence or paragraph fits, nothing of that side stays. */
  readonly border?: Border | undefined;
}

export const TRUNCATION_READERS = {
  budget: needed(whole(1)),
  reserve: whole(0),
  strategy: word(["head", "tail", "middle"]),
  marker: textReader,
  border: word(["token", "sentence", "paragraph"]),
} satisfies Readers<TruncationOptions>;

export const textTokenizer = having<TextTokenizer>("a tokenizer", "encode", "decoder");

export interface Truncation {
  readonly text: string;
  /** Tokens of `text`, without special tokens. */
  readonly tokens: number;
  /** Tokens of the whole text. */
  readonly originalTokens: number;
  readonly isTruncated: boolean;
}

/**
 * Cuts a text to `budget - reserve` tokens. Throws a `UserError` if nothing is left of the budget,
 * or less than the marker takes.
 */
export function truncate(
  given: string,
  tokenizer: TextTokenizer,
  options: TruncationOptions,
): Truncation {
  const read = readOptions("truncate", options, TRUNCATION_READERS);
  const { budget, reserve = 0, strategy = "head", marker = " … ", border = "token" } = read;
  textTokenizer(tokenizer, "tokenizer");
  const room = budget - reserve;
  if (room < 1) {
    throw new UserError(
      `A budget of ${budget} tokens with ${reserve} in reserve leaves no room for text: expected whole numbers with at least 1 to spare.`,
    );
  }
  const text = textReader(given, "text").replace(/\p{Surrogate}/gu, "\ufffd");
  const count = (part: string) => tokenizer.encode(part, { addSpecial: false }).length;
  const ids = tokenizer.encode(text, { addSpecial: false });
  const originalTokens = ids.length;
  if (originalTokens <= room) {
    return { text, tokens: originalTokens, originalTokens, isTruncated: false };
  }
  const cuts = cutsOf(text, ids, tokenizer, border);
  let result: string;
  if (strategy === "head") {
    result = text.slice(
      0,
      longest(cuts, (cut) => count(text.slice(0, cut)), room),
    );
  } else if (strategy === "tail") {
    const lengths = cuts.map((cut) => text.length - cut).reverse();
    result = text.slice(
      text.length - longest(lengths, (kept) => count(text.slice(text.length - kept)), room),
    );
  } else {
    result = bothEnds(text, cuts, room, marker, count);
  }
  return { text: result, tokens: count(result), originalTokens, isTruncated: true };
}

/** Both ends, of about equal length in tokens. At the marker, tokens may merge or split. */
function bothEnds(
  text: string,
  cuts: readonly number[],
  room: number,
  marker: string,
  count: (part: string) => number,
): string {
  const between = count(marker);
  if (room < between + 2) {
    throw new UserError(
      `A budget of ${room} tokens has no room for both ends and a marker of ${between}: give a shorter marker.`,
    );
  }
  const last = cuts.length - 1;
  const join = (head: number, tail: number) =>
    text.slice(0, cuts[head]) + marker + text.slice(cuts[last - tail]);
  const fits = (head: number, tail: number) =>
    head + tail <= last && count(join(head, tail)) <= room;
  // As many cuts on either side as fit, then one more here or there.
  let [low, high] = [0, Math.ceil(cuts.length / 2) + 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (fits(middle, middle)) low = middle;
    else high = middle;
  }
  let [head, tail] = [low, low];
  for (;;) {
    if (fits(head + 1, tail)) head++;
    else if (fits(head, tail + 1)) tail++;
    else return join(head, tail);
  }
}

/** Where a text may be cut, ascending, its beginning and end included. */
function cutsOf(
  text: string,
  ids: readonly number[],
  tokenizer: TextTokenizer,
  border: Border,
): number[] {
  if (border === "sentence") {
    const sentences = new Intl.Segmenter(undefined, { granularity: "sentence" }).segment(text);
    return [...[...sentences].map(({ index }) => index), text.length];
  }
  if (border === "paragraph") {
    return [
      0,
      ...[...text.matchAll(/\n\s*\n/g)].map(({ index, 0: gap }) => index + gap.length),
      text.length,
    ];
  }
  // Where the text that the first tokens complete ends: between tokens, and never inside a
  // character.
  const decoder = tokenizer.decoder();
  const cuts = [0];
  let length = 0;
  for (const id of ids) {
    const piece = decoder.push(id);
    if (!text.startsWith(piece, length)) return [...characterBorders(text)];
    length += piece.length;
    if (length > cuts.at(-1)!) cuts.push(length);
  }
  return length === text.length ? cuts : [...characterBorders(text)];
}

/** The borders of characters, for texts that the tokenizer does not decode unchanged. */
function* characterBorders(text: string): Generator<number> {
  let at = 0;
  yield at;
  for (const character of text) {
    at += character.length;
    yield at;
  }
}

/**
 * This many cuts beyond one that does not fit are tried, since a longer text may have slightly
 * fewer tokens.
 */
const BEYOND = 4;

/** The largest of ascending lengths that takes at most this many tokens. */
function longest(
  lengths: readonly number[],
  count: (length: number) => number,
  most: number,
): number {
  let [low, high] = [0, lengths.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (count(lengths[middle]!) <= most) low = middle;
    else high = middle;
  }
  for (let i = Math.min(low + BEYOND, lengths.length - 1); i > low; i--) {
    if (count(lengths[i]!) <= most) return lengths[i]!;
  }
  return lengths[low]!;
}
