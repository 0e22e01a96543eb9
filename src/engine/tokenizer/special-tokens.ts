/** Cuts text at its special tokens, before anything else looks at it. */
import { isSpecial, type Vocabulary } from "./vocabulary.ts";

/** Text still to be tokenized, or the id of a special token that was spelled in it. */
export type Fragment = string | number;

/** Cuts at user-defined tokens; at control and unknown tokens too, if `parseSpecial`. */
export type SplitSpecial = (text: string, parseSpecial: boolean) => Fragment[];

export function specialTokenSplitter(vocabulary: Vocabulary): SplitSpecial {
  const { stripsBefore, stripsAfter } = vocabulary;
  const ids = Array.from({ length: vocabulary.size }, (_, id) => id);
  const special = ids.filter((id) => isSpecial(vocabulary.type(id)));
  const userDefined = special.filter((id) => vocabulary.type(id) === "user-defined");
  const spelledSpecial = anySpelling(special, vocabulary);
  const spelledUserDefined = anySpelling(userDefined, vocabulary);

  return (text, parseSpecial) => {
    // At the even places is text, at the odd ones the tokens between.
    const parts = text.split(parseSpecial ? spelledSpecial : spelledUserDefined);
    const tokenAt = (place: number): number =>
      place % 2 === 1 && place < parts.length ? vocabulary.id(parts[place]!)! : NONE;

    const fragments: Fragment[] = [];
    for (const [place, part] of parts.entries()) {
      if (place % 2 === 1) {
        fragments.push(tokenAt(place));
        continue;
      }
      const start = stripsAfter.has(tokenAt(place - 1)) ? skipSpace(part) : 0;
      const end = stripsBefore.has(tokenAt(place + 1)) ? skipSpaceBack(part, start) : part.length;
      if (end > start) fragments.push(part.slice(start, end));
    }
    return fragments;
  };
}

/**
 * Whether a text may be cut between two characters as far as special tokens go, whichever of them are looked for: none
 * has the two side by side, so that none spans the cut; and the left one is neither the end of one nor white space, so
 * that none lies before the cut with what it does to the text behind it.
 */
export function specialBorders(vocabulary: Vocabulary): (left: string, right: string) => boolean {
  const inside = new Set<string>();
  const ends = new Set<string>();
  for (let id = 0; id < vocabulary.size; id++) {
    if (!isSpecial(vocabulary.type(id))) continue;
    const characters = Array.from(vocabulary.text(id));
    for (let i = 1; i < characters.length; i++) inside.add(characters[i - 1]! + characters[i]!);
    ends.add(characters.at(-1)!);
  }
  return (left, right) => !ends.has(left) && !isSpace(left, 0) && !inside.has(left + right);
}

const NONE = -1;

/** Matches any of the tokens; of those that begin at the same place, the longest. */
function anySpelling(ids: readonly number[], vocabulary: Vocabulary): RegExp {
  if (ids.length === 0) return /(?!)/;
  const texts = ids.map((id) => vocabulary.text(id)).sort((a, b) => b.length - a.length);
  const escaped = texts.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  return new RegExp(`(${escaped.join("|")})`, "u");
}

function skipSpace(text: string): number {
  let start = 0;
  while (start < text.length && isSpace(text, start)) start++;
  return start;
}

function skipSpaceBack(text: string, start: number): number {
  let end = text.length;
  while (end > start && isSpace(text, end - 1)) end--;
  return end;
}

/** The white space of C's isspace. */
function isSpace(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d);
}
