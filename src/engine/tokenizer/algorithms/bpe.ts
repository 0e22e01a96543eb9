/**
 * Byte-level byte-pair encoding, `tokenizer.ggml.model = "gpt2"`: the text is cut by the rules of
 * pre-tokenizer.ts, and within each piece the bytes are joined in the order of the file's merges.
 * (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2)
 */
import { bytesOfText } from "../../gguf/byte-text.ts";
import { byteOfToken, type Vocabulary } from "../vocabulary.ts";
import type { TokenizerAlgorithm } from "./algorithm.ts";
import { BYTE_CHARACTERS, bytesOfSpelling, spellBytes } from "./byte-alphabet.ts";
import { type FindMerge, type Merge, mergeUnits } from "./merge.ts";
import { splitPieces } from "./pre-tokenizer.ts";

export function createBpe(vocabulary: Vocabulary): TokenizerAlgorithm {
  const utf8 = new TextEncoder();
  const { size } = vocabulary;
  const { stages, ignoreMerges, isBorder } = vocabulary.preTokenizer!;
  const { symbols, find } = readMerges(vocabulary);
  const byteSymbols = BYTE_CHARACTERS.map((character) => symbols.get(character)!);

  return {
    split: (text) => splitPieces(text, stages),
    isBorder,

    tokenize(piece: string): number[] {
      const bytes = utf8.encode(piece);
      if (ignoreMerges) {
        const whole = symbols.get(spellBytes(bytes));
        if (whole !== undefined && whole < size) return [whole];
      }
      const units = Array.from(bytes, (byte) => byteSymbols[byte]!);
      return mergeUnits(units, find).flatMap(({ symbol, start, end }) =>
        // A merged text that is not a token falls back to its bytes; a byte that is not a token
        // either is lost, of which the vocabulary has warned.
        symbol < size ? symbol : units.slice(start, end).filter((unit) => unit < size),
      );
    },

    bytes(id: number): Uint8Array {
      const text = vocabulary.text(id);
      switch (vocabulary.type(id)) {
        case "byte":
          return Uint8Array.of(byteOfToken(text)!);
        case "normal":
        case "unused":
          return bytesOfSpelling(text);
        default:
          return bytesOfText(text);
      }
    },
  };
}

interface Merges {
  /**
   * By text: the id of a token; for bytes and intermediate texts that are not tokens, ids from the
   * vocabulary's size on.
   */
  readonly symbols: ReadonlyMap<string, number>;
  readonly find: FindMerge;
}

function readMerges({ size, merges, text, type }: Vocabulary): Merges {
  const symbols = new Map<string, number>();
  for (let id = 0; id < size; id++) {
    // Merges never make a control token from text: that takes parseSpecial.
    if (type(id) !== "control" && type(id) !== "unknown") symbols.set(text(id), id);
  }
  let nextSymbol = size;
  const intern = (spelling: string): number => {
    const known = symbols.get(spelling);
    if (known !== undefined) return known;
    symbols.set(spelling, nextSymbol);
    return nextSymbol++;
  };

  for (const character of BYTE_CHARACTERS) intern(character);
  const mergeOf = new Map<number, Merge>();
  for (const [rank, merge] of merges.entries()) {
    const space = merge.indexOf(" ", 1);
    if (space < 0) continue; // it joins nothing, as in llama.cpp
    const left = merge.slice(0, space);
    const right = merge.slice(space + 1);
    const pair = pairOf(intern(left), intern(right));
    if (!mergeOf.has(pair)) mergeOf.set(pair, { rank, symbol: intern(left + right) });
  }
  return { symbols, find: (left, right) => mergeOf.get(pairOf(left, right)) };
}

/** Two symbols as one number. A file's header (256 MB at most) cannot spell 2^26 of them. */
function pairOf(left: number, right: number): number {
  return left * 2 ** 26 + right;
}
