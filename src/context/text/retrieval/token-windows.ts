// A document cut into windows of tokens that overlap.

import { UserError } from "../../../kernels/errors.ts";
import type { TextTokenizer } from "../text-tokenizer.ts";

export interface WindowOptions {
  /** Tokens of a window; a shorter document is one window. */
  readonly size: number;
  /** Tokens that a window shares with the one before. */
  readonly overlap: number;
}

export interface Window {
  readonly text: string;
  /** The tokens of the document that it holds: from `start` up to, and without, `end`. */
  readonly start: number;
  readonly end: number;
}

/**
 * The windows of a document, in order. The last one ends with the document and is as long as the others, so that it may
 * share more. A character of several tokens belongs to the last of them: no window holds half of one.
 */
export function* windows(
  document: string,
  tokenizer: TextTokenizer,
  { size, overlap }: WindowOptions,
): Generator<Window, void, void> {
  checkWindows({ size, overlap });
  const decoder = tokenizer.decoder();
  const pieces = tokenizer.encode(document, { addSpecial: false }).map((id) => decoder.push(id));
  for (let end = 0; end < pieces.length; ) {
    end = Math.min(end === 0 ? size : end + size - overlap, pieces.length);
    const start = Math.max(0, end - size);
    yield { text: pieces.slice(start, end).join(""), start, end };
  }
}

/** Throws a `UserError` for windows that make no sense. */
export function checkWindows({ size, overlap }: WindowOptions): void {
  const isCount = (n: number) => Number.isSafeInteger(n) && n >= 0;
  if (isCount(size) && isCount(overlap) && overlap < size) return;
  throw new UserError(
    `Invalid windows of ${size} tokens that overlap by ${overlap}: expected whole numbers, and fewer that overlap than a window has.`,
  );
}
