/** Cuts text at its special tokens, before anything else looks at it. */
import { Spellings } from "./spellings.ts";
import { isSpecial, type Vocabulary } from "./vocabulary.ts";

/** Text still to be tokenized, or the id of a special token that was spelled in it. */
type Fragment = string | number;

/** Cuts at user-defined tokens; at control and unknown tokens too, if `parseSpecial`. */
type SplitSpecial = (text: string, parseSpecial: boolean) => Fragment[];

export function specialTokenSplitter(vocabulary: Vocabulary): SplitSpecial {
  const { stripsBefore, stripsAfter } = vocabulary;
  const ids = Array.from({ length: vocabulary.size }, (_, id) => id);
  const special = ids.filter((id) => isSpecial(vocabulary.type(id)));
  const userDefined = special.filter((id) => vocabulary.type(id) === "user-defined");
  const spelledSpecial = spellingsOf(special, vocabulary);
  const spelledUserDefined = spellingsOf(userDefined, vocabulary);

  return (text, parseSpecial) => {
    const fragments: Fragment[] = [];
    let from = 0;
    const pushText = (end: number) => {
      if (end > from) fragments.push(text.slice(from, end));
    };
    for (const { start, end } of (parseSpecial ? spelledSpecial : spelledUserDefined).cut(text)) {
      const id = vocabulary.id(text.slice(start, end))!;
      pushText(stripsBefore.has(id) ? skipSpaceBack(text, start, from) : start);
      fragments.push(id);
      from = stripsAfter.has(id) ? skipSpace(text, end) : end;
    }
    pushText(text.length);
    return fragments;
  };
}

/** The tokens that a text can spell: those that are valid UTF-8. */
function spellingsOf(ids: readonly number[], vocabulary: Vocabulary): Spellings {
  const texts = ids.map((id) => vocabulary.text(id));
  return new Spellings(texts.filter((text) => !/\p{Surrogate}/u.test(text)));
}

/**
 * Whether a text may be cut between two characters without changing how special tokens are found:
 * none has the two side by side, so that none spans the cut; and the left one is neither the end of
 * one nor white space, so that none lies before the cut with what it does to the text behind it.
 */
export function specialBorders(vocabulary: Vocabulary): (left: string, right: string) => boolean {
  let known: ReturnType<typeof readNeighbours> | undefined;
  return (left, right) => {
    known ??= readNeighbours(vocabulary);
    return !known.ends.has(left) && !isSpace(left, 0) && !known.inside.has(left + right);
  };
}

/** Two characters side by side in a special token, and the last one of each. */
function readNeighbours(vocabulary: Vocabulary): { inside: Set<string>; ends: Set<string> } {
  const inside = new Set<string>();
  const ends = new Set<string>();
  for (let id = 0; id < vocabulary.size; id++) {
    if (!isSpecial(vocabulary.type(id))) continue;
    let left = "";
    for (const right of vocabulary.text(id)) {
      if (left !== "") inside.add(left + right);
      left = right;
    }
    ends.add(left);
  }
  return { inside, ends };
}

function skipSpace(text: string, from: number): number {
  let start = from;
  while (start < text.length && isSpace(text, start)) start++;
  return start;
}

function skipSpaceBack(text: string, from: number, least: number): number {
  let end = from;
  while (end > least && isSpace(text, end - 1)) end--;
  return end;
}

/** The white space of C's isspace. */
function isSpace(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d);
}
