/**
 * Tokens of a text that arrives in parts: exactly those of the whole, in memory that does not grow
 * with it.
 */
import { UserError } from "../../errors.ts";
import { text as textReader } from "../../option-reader.ts";

export interface TokenEncoder {
  /**
   * The tokens that this part settles; the text after the last border is held back, since what
   * follows may change its tokens. A part may end anywhere, in the middle of a surrogate pair too.
   * Throws a `NoBorderError` for a text with too long a stretch without a border.
   */
  push(text: string): number[];
  /** Ends the text: the tokens of what was held back. The encoder can then be reused. */
  flush(): number[];
}

/** The most UTF-16 units that are held back: a chapter without a border. */
const MAX_HELD = 2 ** 18;

/**
 * A text has too long a stretch without a place to cut it, and cannot be tokenized in bounded
 * memory.
 */
export class NoBorderError extends UserError {
  override readonly name = "NoBorderError";
  /** Where the stretch begins, in UTF-16 units of the text. */
  readonly at: number;

  constructor(at: number) {
    super(
      `More than ${MAX_HELD} characters from character ${at} on have no place where tokens surely part: ` +
        "break them by a line or punctuation, or tokenize the text as a whole (encode) where memory allows.",
    );
    this.at = at;
  }
}

export interface StreamEncoding {
  /** The tokens of the start of a text, or of a part that begins at a border. */
  encode(text: string, isStart: boolean): number[];
  /** Whether a text may be cut between two characters in any context. */
  isBorder(left: string, right: string): boolean;
  /** Tokens around the whole text. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

export class StreamEncoder implements TokenEncoder {
  readonly #encoding: StreamEncoding;
  /**
   * Joined, the text from the last border on: no border lies within it, nor, so far, at its end.
   */
  #held: string[] = [];
  #heldLength = 0;
  /** The last character of what is held. */
  #last = "";
  /** Half a surrogate pair, whose other half the next part may bring. */
  #half = "";
  /** UTF-16 units that are tokenized. */
  #done = 0;
  #isStart = true;

  constructor(encoding: StreamEncoding) {
    this.#encoding = encoding;
  }

  push(part: string): number[] {
    textReader(part, "text");
    const given = this.#half + part;
    const whole = /[\ud800-\udbff]/.test(given.slice(-1)) ? given.length - 1 : given.length;
    this.#half = given.slice(whole);
    // As `encode` reads it, so that borders are those of the text that is tokenized.
    const text = given.slice(0, whole).replace(/\p{Surrogate}/gu, "\ufffd");
    const cut = this.#lastBorder(text);
    const ids = cut === undefined ? [] : this.#settle(text.slice(0, cut));
    this.#hold(text.slice(cut ?? 0));
    if (this.#heldLength > MAX_HELD) throw new NoBorderError(this.#done);
    return ids;
  }

  flush(): number[] {
    const ids = this.#settle(this.#half);
    ids.push(...this.#encoding.after);
    this.#half = "";
    this.#done = 0;
    this.#isStart = true;
    return ids;
  }

  /** The last border inside what has arrived or before it; what was held before has none. */
  #lastBorder(text: string): number | undefined {
    for (let end = text.length; end > 0; ) {
      const right = characterBefore(text, end);
      end -= right.length;
      const left = end > 0 ? characterBefore(text, end) : this.#last;
      if (left !== "" && this.#encoding.isBorder(left, right)) return end;
    }
    return undefined;
  }

  /** The tokens of what is held and of the text behind it; nothing is held then. */
  #settle(text: string): number[] {
    const front = this.#held.join("") + text;
    const ids = this.#encoding.encode(front, this.#isStart);
    if (this.#isStart) ids.unshift(...this.#encoding.before);
    this.#isStart = false;
    this.#done += front.length;
    this.#held = [];
    this.#heldLength = 0;
    this.#last = "";
    return ids;
  }

  #hold(text: string): void {
    if (text === "") return;
    this.#held.push(text);
    this.#heldLength += text.length;
    this.#last = characterBefore(text, text.length);
  }
}

/** The character of a well-formed text that ends at a place in it. */
function characterBefore(text: string, end: number): string {
  const unit = text.charCodeAt(end - 1);
  return text.slice(unit >= 0xdc00 && unit <= 0xdfff ? end - 2 : end - 1, end);
}
