// Text to ids and back, by the vocabulary of a model's file.
// In this room: vocabularies, special tokens, texts that come in parts; algorithms/ has the kinds of
// tokenizers. Not in it: chat templates (chat/).

import {
  type Readers,
  readOptions,
  several,
  text as textReader,
  yesOrNo,
} from "../../option-reader.ts";
import type { MetadataValue } from "../gguf/gguf.ts";
import type { TokenizerAlgorithm } from "./algorithms/algorithm.ts";
import { createBpe } from "./algorithms/bpe.ts";
import { createSpm } from "./algorithms/spm.ts";
import { createUgm } from "./algorithms/ugm.ts";
import { createWpm } from "./algorithms/wpm.ts";
import { type DecodeOptions, StreamDecoder, type TokenDecoder, textFinder } from "./decoder.ts";
import { StreamEncoder, type StreamEncoding, type TokenEncoder } from "./encoder.ts";
import { specialBorders, specialTokenSplitter } from "./special-tokens.ts";
import { readVocabulary, type TokenizerModel, type Vocabulary } from "./vocabulary.ts";

export type { DecodeOptions, TokenDecoder } from "./decoder.ts";
export { NoBorderError, type TokenEncoder } from "./encoder.ts";
export type { Vocabulary } from "./vocabulary.ts";

export interface EncodeOptions {
  /** Put BOS and EOS around the text as the file says. Default true. */
  readonly addSpecial?: boolean;
  /** Take the spelling of a control token, such as "<|eot_id|>", for that token. Default false. */
  readonly parseSpecial?: boolean;
  /** The text goes on from another: no space is put in front of it, and no BOS. Default false. */
  readonly continuation?: boolean;
  /**
   * A character that is dropped after special tokens are found: inside of a spelling, it keeps that
   * from being read as a special token. Default: none.
   */
  readonly guard?: string;
}

export const ENCODE_READERS = {
  addSpecial: yesOrNo,
  parseSpecial: yesOrNo,
  continuation: yesOrNo,
  guard: textReader,
} satisfies Readers<EncodeOptions>;

export const DECODE_READERS = {
  special: yesOrNo,
  continuation: yesOrNo,
} satisfies Readers<DecodeOptions>;

export interface Tokenizer {
  readonly vocabulary: Vocabulary;
  /** Throws only if it is not a string; half of a surrogate pair counts as U+FFFD. */
  encode(text: string, options?: EncodeOptions): number[];
  /** For streaming: the ids, joined, are what `encode` gives for the whole text. */
  encoder(options?: Omit<EncodeOptions, "guard">): TokenEncoder;
  /** Invalid UTF-8 gives U+FFFD. */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /** For streaming: the pieces, joined, are what `decode` gives for all the ids. */
  decoder(options?: DecodeOptions): TokenDecoder;
}

const ALGORITHMS: Record<TokenizerModel, (vocabulary: Vocabulary) => TokenizerAlgorithm> = {
  llama: createSpm,
  gpt2: createBpe,
  bert: createWpm,
  t5: createUgm,
};

export function createTokenizer(metadata: ReadonlyMap<string, MetadataValue>): Tokenizer {
  const vocabulary = readVocabulary(metadata);
  const algorithm = ALGORITHMS[vocabulary.model](vocabulary);
  const splitSpecial = specialTokenSplitter(vocabulary);
  const tokenize = remembering(algorithm);
  const isSpecialBorder = specialBorders(vocabulary);
  const findText = textFinder(vocabulary, algorithm);

  /** The tokens of a text, or of the rest of one, and nothing around them. */
  const encodePart = (
    text: string,
    isStart: boolean,
    { parseSpecial = false, guard }: EncodeOptions,
  ): number[] => {
    const ids: number[] = [];
    let startsText = isStart;
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
    return ids;
  };

  const encoding = (given?: EncodeOptions): StreamEncoding => {
    const options = readOptions("encode", given, ENCODE_READERS);
    const { addSpecial = true, continuation = false } = options;
    return {
      encode: (text, isStart) => encodePart(text, isStart && !continuation, options),
      isBorder: (left, right) => isSpecialBorder(left, right) && algorithm.isBorder(left, right),
      before: addSpecial && vocabulary.addBos && !continuation ? [vocabulary.bos!] : [],
      after: addSpecial && vocabulary.addEos ? [vocabulary.eos!] : [],
    };
  };

  const encode = (text: string, options?: EncodeOptions): number[] => {
    const { encode, before, after } = encoding(options);
    return [...before, ...encode(textReader(text, "text"), true), ...after];
  };

  const encoder = (options?: Omit<EncodeOptions, "guard">): TokenEncoder =>
    new StreamEncoder(encoding(options));

  const decoder = (options?: DecodeOptions): TokenDecoder =>
    new StreamDecoder(
      vocabulary,
      algorithm,
      findText,
      readOptions("decode", options, DECODE_READERS),
    );

  const decode = (ids: Iterable<number>, options?: DecodeOptions): string => {
    const stream = decoder(options);
    const pieces: string[] = [];
    for (const id of several<number>("token ids")(ids, "ids")) pieces.push(stream.push(id));
    pieces.push(stream.flush());
    return pieces.join("");
  };

  return { vocabulary, encode, encoder, decode, decoder };
}

/** Texts repeat their words: the tokens of a short piece are computed once. */
function remembering(algorithm: TokenizerAlgorithm): (piece: string) => readonly number[] {
  const known = new Map<string, readonly number[]>();
  return (piece) => {
    if (piece.length > LONGEST_REMEMBERED) return algorithm.tokenize(piece);
    let ids = known.get(piece);
    if (ids === undefined) {
      ids = algorithm.tokenize(piece);
      if (known.size === MAX_REMEMBERED) known.clear();
      known.set(piece, ids);
    }
    return ids;
  };
}

/** V8 copies slices of fewer than 13 characters; a longer one would keep its whole text alive. */
const LONGEST_REMEMBERED = 12;
/** Less than 10 MB, and room for the words of a long novel. */
const MAX_REMEMBERED = 50_000;

function toWellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}
