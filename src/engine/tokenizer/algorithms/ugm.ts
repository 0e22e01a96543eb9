/**
 * SentencePiece's unigram model, `tokenizer.ggml.model = "t5"`: of all ways to cut a text into
 * pieces, the one with the highest sum of scores, which are logarithms of probabilities. Characters
 * are replaced first (charsmap.ts), and a run of characters without pieces is one unknown token.
 * (Kudo 2018, https://arxiv.org/abs/1804.10959)
 */
import { bytesOfText } from "../../gguf/byte-text.ts";
import { isSpecial, SPACE_MARK, type Vocabulary } from "../vocabulary.ts";
import type { TokenizerAlgorithm } from "./algorithm.ts";
import type { Charsmap } from "./charsmap.ts";
import { cutAtBorders, findJoints, joint } from "./joints.ts";

/** An unknown character scores this much less than the worst piece. */
const UNKNOWN_PENALTY = 10;
/** SentencePiece makes no longer piece, in UTF-16 units; a longer one is not found in texts. */
const LONGEST_PIECE = 512;

export function createUgm(vocabulary: Vocabulary): TokenizerAlgorithm {
  const pieces = new Pieces(vocabulary);
  const joints = findJoints(pieces.texts);
  const { charsmap, mergesSpaces } = vocabulary.unigram!;
  const unknown = vocabulary.unk;

  const normalize = (text: string): string => {
    const replaced = charsmap === undefined ? text : charsmap.replace(text);
    const merged = mergesSpaces ? replaced.replace(/ {2,}/g, " ").replace(/ $/, "") : replaced;
    return merged.replaceAll(" ", SPACE_MARK);
  };
  // No piece spans the two, and they are not of one run of unknown characters.
  const parts = (left: number, right: number): boolean =>
    !joints.has(joint(left, right)) && !(pieces.lacks(left) && pieces.lacks(right));

  return {
    split: (text) => cutAtBorders(normalize(text), parts),
    isBorder: rawBorders(charsmap, parts),
    tokenize: (piece) => bestPath(piece, pieces, unknown),

    bytes(id: number): Uint8Array {
      const text = vocabulary.text(id);
      const isText = !isSpecial(vocabulary.type(id)) || vocabulary.type(id) === "user-defined";
      return bytesOfText(isText ? text.replaceAll(SPACE_MARK, " ") : text);
    },
  };
}

/**
 * Borders of a text before its characters are replaced: of ASCII only, where neither character is
 * replaced together with others, and no space is before the border, which might be merged.
 */
function rawBorders(
  charsmap: Charsmap | undefined,
  parts: (left: number, right: number) => boolean,
): TokenizerAlgorithm["isBorder"] {
  let isBorderOf: readonly (readonly boolean[])[] | undefined;
  const find = () => {
    const neighbours = charsmap?.neighbours() ?? { before: new Set(), behind: new Set() };
    const replaced = Array.from({ length: 128 }, (_, unit) => {
      const text = String.fromCharCode(unit);
      return Array.from(charsmap === undefined ? text : charsmap.replace(text));
    });
    return replaced.map((left, l) =>
      replaced.map((right, r) => {
        const [last, first] = [left.at(-1), right[0]];
        if (last === undefined || first === undefined || left.includes(" ")) return false;
        if (neighbours.before.has(l) || neighbours.before.has(r)) return false;
        return !neighbours.behind.has(r) && parts(readPoint(last), readPoint(first));
      }),
    );
  };
  return (left, right) => {
    isBorderOf ??= find();
    return isBorderOf[left.codePointAt(0)!]?.[right.codePointAt(0)!] ?? false;
  };
}

function readPoint(character: string): number {
  return (character === " " ? SPACE_MARK : character).codePointAt(0)!;
}

/** The pieces that text may become, in the order of their texts. */
class Pieces {
  readonly texts: readonly string[];
  readonly #ids: Int32Array;
  readonly #scores: Float64Array;
  /** What an unknown character scores. */
  readonly unknownScore: number;
  readonly #characters: ReadonlySet<number>;

  constructor({ size, type, text, scores }: Vocabulary) {
    const all = Array.from({ length: size }, (_, id) => id);
    const usable = ["normal", "user-defined", "unused"];
    const ids = all.filter((id) => usable.includes(type(id)) && text(id).length <= LONGEST_PIECE);
    const byText = (a: number, b: number) => (text(a) < text(b) ? -1 : 1);
    this.#ids = Int32Array.from(ids.sort(byText));
    this.texts = Array.from(this.#ids, text);
    const scoreOf = (id: number) => (type(id) === "user-defined" ? 0 : (scores[id] ?? 0));
    this.#scores = Float64Array.from(this.#ids, scoreOf);
    const normal = ids.filter((id) => type(id) === "normal");
    const worst = normal.reduce((least, id) => Math.min(least, scoreOf(id)), Infinity);
    this.unknownScore = (normal.length > 0 ? worst : 0) - UNKNOWN_PENALTY;
    const isCharacter = (text: string) => Array.from(text).length === 1;
    this.#characters = new Set(
      this.texts.filter(isCharacter).map((character) => character.codePointAt(0)!),
    );
  }

  /** Whether a character is no piece. */
  lacks(point: number): boolean {
    return !this.#characters.has(point);
  }

  /** Calls `use` for each piece that a text has at a place, the shortest first. */
  at(text: string, from: number, use: (end: number, id: number, score: number) => void): void {
    let low = 0;
    let high = this.texts.length;
    for (let at = from; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      low = this.#lowerBound(low, high, at - from, unit);
      high = this.#lowerBound(low, high, at - from, unit + 1);
      if (low === high) return;
      // The shortest of those that begin alike comes first.
      if (this.texts[low]!.length === at - from + 1) {
        use(at + 1, this.#ids[low]!, this.#scores[low]!);
      }
    }
  }

  /** The first of these pieces whose unit at a depth is not below `unit`; they are alike before. */
  #lowerBound(from: number, to: number, depth: number, unit: number): number {
    let low = from;
    let high = to;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const text = this.texts[middle]!;
      if (depth >= text.length || text.charCodeAt(depth) < unit) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Viterbi's algorithm, over the ends of characters; the first of equal sums stays. */
function bestPath(text: string, pieces: Pieces, unknown: number | undefined): number[] {
  const { length } = text;
  const sums = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
  const starts = new Int32Array(length + 1);
  const ids = new Int32Array(length + 1);
  sums[0] = 0;
  const offer = (start: number, end: number, id: number, score: number) => {
    const sum = sums[start]! + score;
    if (sum <= sums[end]!) return;
    sums[end] = sum;
    starts[end] = start;
    ids[end] = id;
  };
  for (let at = 0; at < length; ) {
    const next = at + (text.codePointAt(at)! > 0xffff ? 2 : 1);
    let isKnown = false;
    const from = at;
    pieces.at(text, from, (end, id, score) => {
      if (end === next) isKnown = true;
      offer(from, end, id, score);
    });
    if (!isKnown) offer(from, next, UNKNOWN, pieces.unknownScore);
    at = next;
  }
  const path: number[] = [];
  for (let at = length; at > 0; at = starts[at]!) {
    const id = ids[at]!;
    if (id !== UNKNOWN || path.at(-1) !== UNKNOWN) path.push(id);
  }
  const tokens = path.reverse().map((id) => (id === UNKNOWN ? unknown : id));
  return tokens.filter((id) => id !== undefined);
}

const UNKNOWN = -1;
