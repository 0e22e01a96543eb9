/**
 * SentencePiece's byte-pair encoding, `tokenizer.ggml.model = "llama"`: every piece has a score,
 * and of all neighbours whose concatenation is a piece, the pair with the highest score is joined
 * first. Characters that no piece covers become byte tokens, `<0x00>` to `<0xFF>`, if all their
 * bytes have one; of others a run becomes one unknown token. (Kudo and Richardson 2018,
 * https://arxiv.org/abs/1808.06226)
 */
import { bytesOfText } from "../../gguf/byte-text.ts";
import { byteOfToken, SPACE_MARK, type Vocabulary } from "../vocabulary.ts";
import type { TokenizerAlgorithm } from "./algorithm.ts";
import { cutAtBorders, findJoints, joint } from "./joints.ts";
import { type FindMerge, type Merge, mergeUnits } from "./merge.ts";

const UNKNOWN = -1;

export function createSpm(vocabulary: Vocabulary): TokenizerAlgorithm {
  const { textOf, symbolOf, mergeOf } = readPieces(vocabulary);
  const joints = findJoints(mergeOf.keys());
  const byteTokens = Array.from({ length: 256 }, (_, byte) => vocabulary.idOfByte(byte));
  const hasAllBytes = byteTokens.every((id) => id !== undefined);

  const find: FindMerge = (left, right) =>
    left === UNKNOWN || right === UNKNOWN ? undefined : mergeOf.get(textOf[left]! + textOf[right]!);

  /** Undefined if one of its bytes is not a token. */
  const byteTokensOf = (text: string): number[] | undefined => {
    const ids = Array.from(bytesOfText(text), (byte) => byteTokens[byte]);
    return ids.every((id) => id !== undefined) ? ids : undefined;
  };
  /** Whether a character has neither a token nor byte tokens. */
  const isUnknown = (point: number): boolean => {
    if (hasAllBytes) return false;
    const character = String.fromCodePoint(point);
    const symbol = symbolOf.get(character);
    const isToken = symbol !== undefined && symbol < vocabulary.size;
    return !isToken && byteTokensOf(character) === undefined;
  };
  // No piece spans the two, and they are not of one run of unknown characters.
  const isBorder = (left: number, right: number): boolean =>
    !joints.has(joint(left, right)) && !(isUnknown(left) && isUnknown(right));

  return {
    // A cut between two characters that no piece spans changes nothing.
    split: (text) => cutAtBorders(text.replaceAll(SPACE_MARK, " "), isBorder),

    isBorder: (left, right) => isBorder(readPoint(left), readPoint(right)),

    tokenize(piece: string): number[] {
      const characters = Array.from(piece);
      const units = characters.map((character) => symbolOf.get(character) ?? UNKNOWN);
      const ids: number[] = [];
      let isRun = false; // of unknown characters, which is one token as a whole
      for (const { symbol, start, end } of mergeUnits(units, find)) {
        const isToken = symbol !== UNKNOWN && symbol < vocabulary.size;
        const text = characters.slice(start, end).join("");
        const known = isToken ? [symbol] : byteTokensOf(text);
        if (known) ids.push(...known);
        else if (!isRun && vocabulary.unk !== undefined) ids.push(vocabulary.unk);
        isRun = known === undefined;
      }
      return ids;
    },

    bytes(id: number): Uint8Array {
      const text = vocabulary.text(id);
      switch (vocabulary.type(id)) {
        case "byte":
          return Uint8Array.of(byteOfToken(text)!);
        case "control":
        case "unknown":
          return bytesOfText(text);
        default:
          return bytesOfText(text.replaceAll(SPACE_MARK, " "));
      }
    },
  };
}

/** The mark of a space in a text is a space, as for SentencePiece. */
function readPoint(character: string): number {
  return character === SPACE_MARK ? 0x20 : character.codePointAt(0)!;
}

interface Pieces {
  /** By symbol: the token ids first, then characters that are not tokens but occur in one. */
  readonly textOf: string[];
  /** By character. */
  readonly symbolOf: ReadonlyMap<string, number>;
  /** By the text that the merge makes. */
  readonly mergeOf: ReadonlyMap<string, Merge>;
}

/**
 * The pieces that text may become. Without control, unknown and byte tokens, as in SentencePiece: a
 * typed "<s>" must not start a sequence, a typed "<0x41>" must not come back as "A". The file's
 * mark for a space is read as a space, here and in texts.
 */
function readPieces(vocabulary: Vocabulary): Pieces {
  const textOf: string[] = [];
  const ids: number[] = [];
  for (let id = 0; id < vocabulary.size; id++) {
    const type = vocabulary.type(id);
    const text = vocabulary.text(id);
    textOf.push(text.replaceAll(SPACE_MARK, " "));
    if (type === "normal" || type === "user-defined") ids.push(id);
  }

  // Merging compares ranks: the place of a score among all scores, the highest first.
  const scoreOf = (id: number): number => vocabulary.scores[id] ?? 0;
  const ranks = new Map(
    Array.from(new Set(ids.map(scoreOf)))
      .sort((a, b) => b - a)
      .map((score, rank) => [score, rank]),
  );
  const mergeOf = new Map<string, Merge>();
  for (const id of ids) {
    const text = textOf[id]!;
    if (!mergeOf.has(text)) mergeOf.set(text, { rank: ranks.get(scoreOf(id))!, symbol: id });
  }

  const symbolOf = new Map<string, number>();
  for (const text of mergeOf.keys()) {
    for (const character of text) {
      if (symbolOf.has(character)) continue;
      const token = mergeOf.get(character);
      symbolOf.set(character, token === undefined ? textOf.push(character) - 1 : token.symbol);
    }
  }
  return { textOf, symbolOf, mergeOf };
}
