/**
 * WordPiece, `tokenizer.ggml.model = "bert"`: a word is cut from the left into the longest pieces
 * that there are, and a word that cannot be cut is one unknown token. Words are read as Hugging
 * Face's tokenizer reads them, with which the models were trained; llama.cpp takes all marks away,
 * where that takes those that need no space, and cuts no syllables of Hangul. (Devlin et al. 2018,
 * https://arxiv.org/abs/1810.04805)
 */
import { bytesOfText } from "../../gguf/byte-text.ts";
import { isSpecial, SPACE_MARK, type Vocabulary } from "../vocabulary.ts";
import type { TokenizerAlgorithm } from "./algorithm.ts";
import { isWordBorder, splitAtSpace, wordsOf } from "./words.ts";

/** A longer word, in characters, is unknown. */
const LONGEST_WORD = 100;

export function createWpm(vocabulary: Vocabulary): TokenizerAlgorithm {
  const { firstPieces, otherPieces, longest } = readPieces(vocabulary);
  const unknown = vocabulary.unk === undefined ? [] : [vocabulary.unk];

  const cutWord = (word: string): readonly number[] => {
    if (word.length > LONGEST_WORD && Array.from(word).length > LONGEST_WORD) return unknown;
    const ids: number[] = [];
    for (let start = 0; start < word.length; ) {
      const pieces = start === 0 ? firstPieces : otherPieces;
      let end = Math.min(word.length, start + longest);
      let id = pieces.get(word.slice(start, end));
      while (id === undefined && --end > start) id = pieces.get(word.slice(start, end));
      if (id === undefined) return unknown;
      ids.push(id);
      start = end;
    }
    return ids;
  };

  return {
    split: splitAtSpace,
    isBorder: isWordBorder,
    tokenize: (piece) => wordsOf(piece, vocabulary.normalizer!).flatMap(cutWord),

    bytes(id: number): Uint8Array {
      const text = vocabulary.text(id);
      if (isSpecial(vocabulary.type(id))) return bytesOfText(` ${text}`);
      return bytesOfText(beginsWord(text) ? ` ${text.slice(SPACE_MARK.length)}` : text);
    },
  };
}

interface Pieces {
  /** Pieces that begin a word, which the file spells "▁the". */
  readonly firstPieces: ReadonlyMap<string, number>;
  /** Pieces that go on in a word: "ing", which the model's own vocabulary spells "##ing". */
  readonly otherPieces: ReadonlyMap<string, number>;
  /** The length of the longest, in UTF-16 units. */
  readonly longest: number;
}

function readPieces({ size, text, type }: Vocabulary): Pieces {
  const firstPieces = new Map<string, number>();
  const otherPieces = new Map<string, number>();
  let longest = 1;
  for (let id = 0; id < size; id++) {
    // A typed "[SEP]" must not end a text: that takes parseSpecial.
    if (isSpecial(type(id))) continue;
    const spelling = text(id);
    const isFirst = beginsWord(spelling);
    const piece = isFirst ? spelling.slice(SPACE_MARK.length) : spelling;
    (isFirst ? firstPieces : otherPieces).set(piece, id);
    longest = Math.max(longest, piece.length);
  }
  return { firstPieces, otherPieces, longest };
}

/** The mark by itself is a character that goes on in a word. */
function beginsWord(spelling: string): boolean {
  return spelling.startsWith(SPACE_MARK) && spelling !== SPACE_MARK;
}
