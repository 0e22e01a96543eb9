/**
 * How a byte-level vocabulary cuts text before merging, by the name in `tokenizer.ggml.pre`. Each
 * stage cuts every piece of the stage before it: most are regular expressions, where what lies
 * between two matches is a piece too. pre-tokenizer-families.ts has them.
 */
import { UserError } from "../../../errors.ts";
import { quote } from "../../gguf/reader.ts";
import type { Cut } from "./digit-groups.ts";
import { BORDER, FAMILIES } from "./pre-tokenizer-families.ts";

export type Stage = RegExp | Cut;

export interface PreTokenizer {
  readonly stages: readonly Stage[];
  /** Whether a text may be cut between two characters in any context. */
  isBorder(left: string, right: string): boolean;
  /** A piece that is a token as a whole is that token, even if merging would end elsewhere. */
  readonly ignoreMerges: boolean;
  /** Whether BOS is added if the file does not say. */
  readonly addBos: boolean;
}

/** The rules of this name, compiled; a name that is not in the table is refused. */
export function findPreTokenizer(name: string): PreTokenizer {
  const family = FAMILIES.find(({ names }) => names.includes(name));
  if (family === undefined) {
    const known = FAMILIES.flatMap(({ names }) => names).join(", ");
    throw new UserError(
      `tokenizer.ggml.pre is ${quote(name)}, a pre-tokenizer that dawnstream does not know; it knows ${known}.`,
    );
  }
  const { stages, ignoreMerges = false, addBos = false, border = BORDER } = family;
  const isBorder = (left: string, right: string) => border.test(left + right);
  return { stages: stages.map(compile), isBorder, ignoreMerges, addBos };
}

/**
 * JavaScript's \s takes U+FEFF for a space and U+0085 for none, unlike the engines that these
 * expressions were written for; the Unicode property is what they mean.
 */
function compile(source: string | Cut): Stage {
  if (typeof source !== "string") return source;
  const portable = source
    .replaceAll(String.raw`\s`, String.raw`\p{White_Space}`)
    .replaceAll(String.raw`\S`, String.raw`\P{White_Space}`);
  return new RegExp(`(${portable})`, "u");
}

export function splitPieces(text: string, stages: readonly Stage[]): string[] {
  let pieces = text === "" ? [] : [text];
  for (const stage of stages) {
    // Splitting at a group gives what is between the matches and the matches themselves, in turn.
    const cut = typeof stage === "function" ? stage : (piece: string) => piece.split(stage);
    pieces = pieces.flatMap((piece) => cut(piece).filter((part) => part !== ""));
  }
  return pieces;
}
