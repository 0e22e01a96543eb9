import { UserError } from "../../kernels/errors.ts";
import type { MetadataValue } from "../gguf/gguf.ts";
import type { TokenizerAlgorithm } from "./algorithm.ts";
import { createBpe } from "./bpe.ts";
import { specialTokenSplitter } from "./special-tokens.ts";
import { createSpm } from "./spm.ts";
import { readVocabulary, type Vocabulary } from "./vocabulary.ts";

export type { Vocabulary } from "./vocabulary.ts";

export interface EncodeOptions {
  /** Put BOS and EOS around the text as the file says. Default true. */
  readonly addSpecial?: boolean;
  /** Take the spelling of a control token, such as "<|eot_id|>", for that token. Default false. */
  readonly parseSpecial?: boolean;
  /** The text goes on from another: no space is put in front of it, and no BOS. Default false. */
  readonly continuation?: boolean;
  /**
   * A character that is no text: it keeps a spelling that it stands in from being taken for a special token, and is
   * dropped after that. Default: none.
   */
  readonly guard?: string;
}

export interface DecodeOptions {
  /** Show control tokens as they are spelled. Default false: they give no text. */
  readonly special?: boolean;
  /**
   * The tokens continue a text: their first space stays. Default false: where encoding puts a space
   * in front of a text (SentencePiece), one space at the start is taken away again. The spaces that it
   * puts after special tokens within the text stay, as in llama.cpp.
   */
  readonly continuation?: boolean;
}

export interface Tokenizer {
  readonly vocabulary: Vocabulary;
  /** Never throws; half of a surrogate pair counts as U+FFFD. */
  encode(text: string, options?: EncodeOptions): number[];
  /** Bytes that are no UTF-8 give U+FFFD. */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /** For streaming: the pieces, joined, are what `decode` gives for all the ids. */
  decoder(options?: DecodeOptions): TokenDecoder;
}

export interface TokenDecoder {
  /** The text that this token completes; empty while a character is unfinished. */
  push(id: number): string;
  /** Ends the text: U+FFFD for a character that was never finished. The decoder can then be reused. */
  flush(): string;
}

export function createTokenizer(metadata: ReadonlyMap<string, MetadataValue>): Tokenizer {
  const vocabulary = readVocabulary(metadata);
  const algorithm = vocabulary.model === "llama" ? createSpm(vocabulary) : createBpe(vocabulary);
  const splitSpecial = specialTokenSplitter(vocabulary);
  const tokenize = remembering(algorithm);

  const encode = (text: string, options: EncodeOptions = {}): number[] => {
    const { addSpecial = true, parseSpecial = false, continuation = false, guard } = options;
    const ids: number[] = [];
    if (addSpecial && vocabulary.addBos && !continuation) ids.push(vocabulary.bos!);
    let startsText = !continuation;
    for (const fragment of splitSpecial(toWellFormed(text), parseSpecial)) {
      if (typeof fragment === "number") {
        ids.push(fragment);
      } else {
        const plain = guard === undefined ? fragment : fragment.replaceAll(guard, "");
        const spaced = startsText && vocabulary.addSpacePrefix ? ` ${plain}` : plain;
        for (const piece of algorithm.split(spaced)) for (const id of tokenize(piece)) ids.push(id);
      }
      startsText = typeof fragment === "number";
    }
    if (addSpecial && vocabulary.addEos) ids.push(vocabulary.eos!);
    return ids;
  };

  const decoder = (options: DecodeOptions = {}): TokenDecoder =>
    new StreamDecoder(vocabulary, algorithm, options);

  const decode = (ids: Iterable<number>, options?: DecodeOptions): string => {
    const stream = decoder(options);
    const pieces: string[] = [];
    for (const id of ids) pieces.push(stream.push(id));
    pieces.push(stream.flush());
    return pieces.join("");
  };

  return { vocabulary, encode, decode, decoder };
}

class StreamDecoder implements TokenDecoder {
  readonly #vocabulary: Vocabulary;
  readonly #algorithm: TokenizerAlgorithm;
  readonly #special: boolean;
  readonly #startsWithPrefix: boolean;
  #atStart: boolean;
  // A byte order mark is a character of the text like any other: without ignoreBOM it is swallowed.
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(vocabulary: Vocabulary, algorithm: TokenizerAlgorithm, options: DecodeOptions) {
    this.#vocabulary = vocabulary;
    this.#algorithm = algorithm;
    this.#special = options.special ?? false;
    this.#startsWithPrefix = vocabulary.addSpacePrefix && !(options.continuation ?? false);
    this.#atStart = true;
  }

  push(id: number): string {
    const { size } = this.#vocabulary;
    if (!Number.isInteger(id) || id < 0 || id >= size) {
      throw new UserError(
        `Token id ${id} is not in the vocabulary: it has ${size} tokens, 0 to ${size - 1}. Are these the tokens of another model?`,
      );
    }
    const type = this.#vocabulary.type(id);
    if (!this.#special && (type === "control" || type === "unknown")) return "";

    let bytes = this.#algorithm.bytes(id);
    if (this.#atStart && this.#startsWithPrefix && bytes[0] === SPACE) bytes = bytes.subarray(1);
    this.#atStart = false;
    return this.#utf8.decode(bytes, { stream: true });
  }

  flush(): string {
    this.#atStart = true;
    return this.#utf8.decode();
  }
}

const SPACE = 0x20;

/** Text repeats its words: the tokens of a short piece are worked out once. */
function remembering(algorithm: TokenizerAlgorithm): (piece: string) => readonly number[] {
  const known = new Map<string, readonly number[]>();
  return (piece) => {
    if (piece.length > LONGEST_REMEMBERED) return algorithm.tokenize(piece);
    let ids = known.get(piece);
    if (ids === undefined) {
      ids = algorithm.tokenize(piece);
      if (known.size === MOST_REMEMBERED) known.clear();
      known.set(piece, ids);
    }
    return ids;
  };
}

/** V8 copies slices of fewer than 13 characters; a longer one would keep its whole text alive. */
const LONGEST_REMEMBERED = 12;
/** Less than 10 MB, and room for the words of a long novel. */
const MOST_REMEMBERED = 50_000;

function toWellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}
