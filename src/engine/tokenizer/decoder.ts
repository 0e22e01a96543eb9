/** The text of tokens that arrive one by one. */
import { UserError } from "../../errors.ts";
import { quoteValue } from "../../option-reader.ts";
import type { TokenizerAlgorithm } from "./algorithms/algorithm.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface DecodeOptions {
  /** Show control tokens as they are spelled. Default false: they give no text. */
  readonly special?: boolean;
  /**
   * The tokens continue a text: their first space stays. Default false: if encoding puts a space
   * before a text (SentencePiece), one space at the start is removed. The spaces that it puts after
   * special tokens within the text stay, as in llama.cpp.
   */
  readonly continuation?: boolean;
}

export interface TokenDecoder {
  /** The text that this token completes; empty while a character is unfinished. */
  push(id: number): string;
  /**
   * Ends the text: U+FFFD for a character that was never finished. The decoder can then be reused.
   */
  flush(): string;
}

/** The text of a token; undefined where its bytes are not whole characters. */
type FindText = (id: number) => string | undefined;

export class StreamDecoder implements TokenDecoder {
  readonly #vocabulary: Vocabulary;
  readonly #algorithm: TokenizerAlgorithm;
  readonly #findText: FindText;
  readonly #special: boolean;
  readonly #startsWithPrefix: boolean;
  #atStart = true;
  /** Whether the last bytes may be those of an unfinished character. */
  #isWithin = false;
  // A byte order mark is a character of the text like any other: without ignoreBOM it is swallowed.
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(
    vocabulary: Vocabulary,
    algorithm: TokenizerAlgorithm,
    findText: FindText,
    options: DecodeOptions,
  ) {
    this.#vocabulary = vocabulary;
    this.#algorithm = algorithm;
    this.#findText = findText;
    this.#special = options.special ?? false;
    this.#startsWithPrefix = vocabulary.addSpacePrefix && !(options.continuation ?? false);
  }

  push(id: number): string {
    const { size, isHidden } = this.#vocabulary;
    if (!Number.isInteger(id) || id < 0 || id >= size) {
      throw new UserError(
        `Token id ${quoteValue(id)} is not in the vocabulary: it has ${size} tokens, 0 to ${size - 1}. Are these the tokens of another model?`,
      );
    }
    if (!this.#special && isHidden(id)) return "";

    const dropsSpace = this.#atStart && this.#startsWithPrefix;
    this.#atStart = false;
    const text = this.#findText(id);
    if (text !== undefined && !this.#isWithin) {
      return dropsSpace && text.startsWith(" ") ? text.slice(1) : text;
    }
    // A whole character ends an unfinished one before it.
    this.#isWithin = text === undefined;
    const bytes = this.#algorithm.bytes(id);
    return this.#utf8.decode(dropsSpace && bytes[0] === SPACE ? bytes.subarray(1) : bytes, {
      stream: true,
    });
  }

  flush(): string {
    this.#atStart = true;
    this.#isWithin = false;
    return this.#utf8.decode();
  }
}

const SPACE = 0x20;

/** Each token's text is computed once. */
export function textFinder(vocabulary: Vocabulary, algorithm: TokenizerAlgorithm): FindText {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
  /** By token; null if its bytes are not whole characters. */
  const texts = new Array<string | null | undefined>(vocabulary.size);
  return (id) => {
    let text = texts[id];
    if (text === undefined) {
      try {
        text = utf8.decode(algorithm.bytes(id));
      } catch {
        text = null;
      }
      texts[id] = text;
    }
    return text ?? undefined;
  };
}
