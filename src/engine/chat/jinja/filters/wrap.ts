// The filter `wordwrap`: lines of a bounded width, as Python's `textwrap` makes them.

import { TemplateRuntimeError } from "../errors.ts";
import { between, lengthOf, lines, strip } from "../python/texts.ts";

interface WrapOptions {
  readonly width: number;
  /** Cut words that are longer than a line. */
  readonly breaksWords: boolean;
  /** Cut words behind hyphens. */
  readonly breaksHyphens: boolean;
  readonly joint: string;
}

/** Line ends of the text stay. */
export function wrap(text: string, options: WrapOptions): string {
  return lines(text)
    .map((line) => wrapLine(line, options).join(options.joint))
    .join(options.joint);
}

const BLANK = "[\\t\\n\\v\\f\\r ]";
const SOLID = "[^\\t\\n\\v\\f\\r ]";
const LETTER = "[\\p{L}_]";
const WORD_MARK = "[\\p{L}\\p{N}_!\"'&.,?]";

/** Blanks; dashes between words; words, up to a hyphen between letters or to a dash. */
const PIECES = new RegExp(
  `(${BLANK}+|(?<=${WORD_MARK})-{2,}(?=[\\p{L}\\p{N}_])|${SOLID}+?(?:-(?:(?<=${LETTER}{2}-)|(?<=${LETTER}-${LETTER}-))(?=${LETTER}-?${LETTER})|(?=${BLANK}|$)|(?<=${WORD_MARK})(?=-{2,}[\\p{L}\\p{N}_])))`,
  "u",
);
const BLANKS = new RegExp(`(${BLANK}+)`, "u");

function wrapLine(line: string, { width, breaksWords, breaksHyphens }: WrapOptions): string[] {
  if (width <= 0) throw new TemplateRuntimeError("wordwrap needs a width above zero");
  const pieces = line
    .split(breaksHyphens ? PIECES : BLANKS)
    .filter(Boolean)
    .reverse();
  const found: string[] = [];
  while (pieces.length > 0) {
    const current: string[] = [];
    let used = 0;
    if (isBlank(pieces.at(-1)!) && found.length > 0) pieces.pop();
    while (pieces.length > 0 && used + lengthOf(pieces.at(-1)!) <= width) {
      used += lengthOf(pieces.at(-1)!);
      current.push(pieces.pop()!);
    }
    const next = pieces.at(-1);
    if (next !== undefined && lengthOf(next) > width) {
      const room = width < 1 ? 1 : width - used;
      if (breaksWords) {
        let end = room;
        const hyphen = breaksHyphens ? between(next, 0, room).lastIndexOf("-") : -1;
        // Behind a hyphen that has something else before it.
        if (lengthOf(next) > room && hyphen > 0 && /[^-]/.test(next.slice(0, hyphen)))
          end = hyphen + 1;
        current.push(between(next, 0, end));
        pieces[pieces.length - 1] = between(next, end, lengthOf(next));
      } else if (current.length === 0) current.push(pieces.pop()!);
    }
    if (current.length > 0 && isBlank(current.at(-1)!)) current.pop();
    if (current.length > 0) found.push(current.join(""));
  }
  return found;
}

function isBlank(piece: string): boolean {
  return strip(piece) === "";
}
