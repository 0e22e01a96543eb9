// Windows over a text of any length, by tokens: each overlaps the one before, together they cover
// the text, and no more of it is held than a window and the part that is being read.

import { UserError } from "../../errors.ts";
import {
  abortSignal,
  callback,
  having,
  invalid,
  needed,
  type Reader,
  type Readers,
  readOptions,
  whole,
} from "../../option-reader.ts";
import type { TextTokenizer } from "./text-tokenizer.ts";

/** A text, whole or in parts that may end anywhere, such as the chunks of a file. */
export type TextSource = string | Iterable<string> | AsyncIterable<string>;

/** The part of a tokenizer that windows need. */
export interface StreamTokenizer extends Pick<TextTokenizer, "decoder"> {
  /** Tokenizes a text that arrives in parts: the ids, joined, are those of the whole. */
  encoder(options: { readonly addSpecial: false }): {
    push(text: string): readonly number[];
    flush(): readonly number[];
  };
}

export interface WindowOptions {
  /** Tokens of a window. */
  readonly size: number;
  /** Tokens that a window shares with the one before it: less than `size`. Default: 0. */
  readonly overlap?: number | undefined;
}

export const WINDOW_READERS = {
  size: needed(whole(1)),
  overlap: whole(0),
} satisfies Readers<WindowOptions>;

const tokenizerReader = having<StreamTokenizer>("a tokenizer", "encoder", "decoder");

/** A text, or what gives its parts. */
const documentReader: Reader<TextSource> = (value, name) => {
  const isParts =
    typeof value === "object" &&
    value !== null &&
    (Symbol.iterator in value || Symbol.asyncIterator in value);
  if (typeof value === "string" || isParts) return value as TextSource;
  throw invalid(name, value, "a text, or its parts, such as streamText(path)");
};

/** Tokens [start, end) of a text, counted from 0, special tokens left out. */
export interface TextWindow {
  readonly index: number;
  readonly start: number;
  readonly end: number;
  /** The tokens as they are in the whole text, without BOS. */
  readonly ids: readonly number[];
  /**
   * The characters that end within these tokens: one that is spread over the border of two windows
   * belongs to the later one, so that none is cut, and the texts of windows that meet are, joined,
   * the text. Tokenized alone it may give other ids than `ids` at its ends, where words are cut.
   */
  readonly text: string;
  /** Where `text` lies in the whole, [textStart, textEnd) in UTF-16 units. */
  readonly textStart: number;
  readonly textEnd: number;
}

/**
 * Windows over a text, in order. Each has `size` tokens and begins `size - overlap` behind the one
 * before; the last one ends with the text, and since it is as long as the others, its overlap may
 * be larger. A text of at most `size` tokens is one window. Holds at most the tokens of two windows
 * and of one part of 65,536 characters.
 *
 * Throws a `UserError` for invalid sizes and, once it is read, for an empty text.
 */
export function windows(
  document: TextSource,
  tokenizer: StreamTokenizer,
  options: WindowOptions,
): AsyncGenerator<TextWindow, void, void> {
  const { size, overlap = 0 } = checkWindows(options);
  const source = documentReader(document, "document");
  return slide(source, tokenizerReader(tokenizer, "tokenizer"), size, overlap);
}

/** Throws a `UserError` for invalid sizes. */
export function checkWindows(options: WindowOptions): WindowOptions {
  const read = readOptions("windows", options, WINDOW_READERS);
  const { size, overlap = 0 } = read;
  if (overlap >= size) {
    throw new UserError(
      `Windows of ${size} tokens cannot overlap by ${overlap}: expected a whole number from 0 to ${size - 1}.`,
    );
  }
  return read;
}

async function* slide(
  document: TextSource,
  tokenizer: StreamTokenizer,
  size: number,
  overlap: number,
): AsyncGenerator<TextWindow, void, void> {
  const step = size - overlap;
  const stretch = new Stretch(tokenizer);
  let index = 0;
  /** Start of the next window. */
  let start = 0;
  for await (const ids of idsOf(document, tokenizer)) {
    stretch.append(ids);
    for (; start + size <= stretch.end; start += step) {
      yield stretch.window(index++, start, start + size);
    }
    // If the text ends now, the last window begins after the start of the one before: keep the
    // tokens from there.
    stretch.forget(start - step);
  }
  const { end } = stretch;
  if (end === 0) throw new UserError("The document is empty: there is no text to make windows of.");
  const covered = index === 0 ? 0 : start - step + size;
  if (covered < end) yield stretch.window(index, Math.max(0, end - size), end);
}

async function* idsOf(
  document: TextSource,
  tokenizer: StreamTokenizer,
): AsyncGenerator<readonly number[], void, void> {
  const encoder = tokenizer.encoder({ addSpecial: false });
  for await (const given of typeof document === "string" ? [document] : document) {
    if (typeof given !== "string") throw invalid("part of the document", given ?? null, "a text");
    for (let at = 0; at < given.length; at += PART) yield encoder.push(given.slice(at, at + PART));
  }
  yield encoder.flush();
}

/**
 * UTF-16 units that are tokenized at a time, so that a whole text takes no more memory than one in
 * parts.
 */
const PART = 2 ** 16;

/** The tokens of a text from some place up to what has been read, and its characters. */
class Stretch {
  readonly #decoder: ReturnType<StreamTokenizer["decoder"]>;
  #start = 0;
  readonly #ids: number[] = [];
  /** For each token, the end in the whole text of the characters that it completes. */
  readonly #textEnds: number[] = [];
  #text = "";
  #textStart = 0;
  #textEnd = 0;

  constructor(tokenizer: StreamTokenizer) {
    this.#decoder = tokenizer.decoder();
  }

  /** The number of tokens so far. */
  get end(): number {
    return this.#start + this.#ids.length;
  }

  append(ids: readonly number[]): void {
    const pieces: string[] = [];
    for (const id of ids) {
      const piece = this.#decoder.push(id);
      pieces.push(piece);
      this.#textEnd += piece.length;
      this.#ids.push(id);
      this.#textEnds.push(this.#textEnd);
    }
    this.#text += pieces.join("");
  }

  window(index: number, start: number, end: number): TextWindow {
    const textStart = this.#textAt(start);
    const textEnd = this.#textAt(end);
    return {
      index,
      start,
      end,
      ids: this.#ids.slice(start - this.#start, end - this.#start),
      text: this.#text.slice(textStart - this.#textStart, textEnd - this.#textStart),
      textStart,
      textEnd,
    };
  }

  /** Drops the tokens before a place. */
  forget(start: number): void {
    if (start <= this.#start) return;
    const textStart = this.#textAt(start);
    this.#text = this.#text.slice(textStart - this.#textStart);
    this.#textStart = textStart;
    this.#ids.splice(0, start - this.#start);
    this.#textEnds.splice(0, start - this.#start);
    this.#start = start;
  }

  /** Where the text of the tokens before a place ends. */
  #textAt(position: number): number {
    return this.#textEnds[position - this.#start - 1] ?? this.#textStart;
  }
}

export interface MapWindowsOptions<R, C> {
  /** Combines all results, in the order of the windows. Default: returns them as they are. */
  readonly combine?: ((results: R[]) => C | Promise<C>) | undefined;
  /** Windows that are worked on at a time. Default: 1, one after the other. */
  readonly concurrency?: number | undefined;
  /** Aborts before the next window: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export const MAP_WINDOWS_READERS = {
  combine: callback,
  concurrency: whole(1),
  signal: abortSignal,
} satisfies Readers<MapWindowsOptions<unknown, unknown>>;

/**
 * The results of `work` for each window, in order, or what `combine` returns for them. Reads no
 * more of the text than the windows in work need. The first error rejects the promise after the
 * windows in work are done.
 */
export async function mapWindows<R, C = R[]>(
  document: TextSource,
  tokenizer: StreamTokenizer,
  options: WindowOptions,
  work: (window: TextWindow) => R | Promise<R>,
  mapping: MapWindowsOptions<R, C> = {},
): Promise<C> {
  const read = readOptions("mapWindows", mapping, MAP_WINDOWS_READERS);
  const { combine = (results: R[]) => results as C, concurrency = 1, signal } = read;
  callback(work, "work");
  const source = windows(document, tokenizer, options);
  const results: R[] = [];
  const failures: unknown[] = [];
  const workOff = async () => {
    try {
      while (failures.length === 0) {
        signal?.throwIfAborted();
        const { done, value } = await source.next();
        if (done) return;
        results[value.index] = await work(value);
      }
    } catch (error) {
      failures.push(error);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, workOff));
  await source.return();
  if (failures.length > 0) throw failures[0];
  return combine(results);
}
