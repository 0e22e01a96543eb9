// Upper, lower and title case, as Python has them.

/** The title case of a character: for all but these the first of its upper case. */
const TITLES: ReadonlyMap<string, string> = new Map(
  ["ǅǄǆ", "ǈǇǉ", "ǋǊǌ", "ǲǱǳ"].flatMap(([title = "", ...others]) =>
    [title, ...others].map((character): [string, string] => [character, title]),
  ),
);

function titleCase(character: string): string {
  const known = TITLES.get(character);
  if (known !== undefined) return known;
  // Georgian has capitals for whole words only.
  if (/[\u10d0-\u10ff]/.test(character)) return character;
  const [first = "", ...rest] = character.toUpperCase();
  return first + rest.join("").toLowerCase();
}

/** The first character in title case, the others in lower case. */
export function capitalize(text: string): string {
  const [first = ""] = text;
  // Together, for a sigma at the end of a word.
  return titleCase(first) + text.toLowerCase().slice(first.toLowerCase().length);
}

const CASED = /\p{Cased}/u;

/** Letters behind others in lower case, those that begin in title case. */
export function title(text: string): string {
  let isWithin = false;
  // A sigma at the end of a word has another lower case, so convert the whole word.
  return text.replace(/\p{Cased}+|\P{Cased}+/gu, (run) => {
    isWithin = CASED.test(run);
    return isWithin ? capitalize(run) : run;
  });
}

export function isTitle(text: string): boolean {
  let wasCased = false;
  let hasAny = false;
  for (const character of text) {
    const isUpper = /[\p{Uppercase}\p{Lt}]/u.test(character);
    const isLower = !isUpper && /\p{Lowercase}/u.test(character);
    if ((isUpper && wasCased) || (isLower && !wasCased)) return false;
    wasCased = isUpper || isLower;
    hasAny ||= wasCased;
  }
  return hasAny;
}

export function swapCase(text: string): string {
  return Array.from(text, (character) =>
    /\p{Uppercase}/u.test(character) ? character.toLowerCase() : character.toUpperCase(),
  ).join("");
}
