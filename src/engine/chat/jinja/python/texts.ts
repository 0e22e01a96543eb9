// Python's texts: sequences of code points, while JavaScript's are of UTF-16 units.

/**
 * What `str.isspace` says yes to: JavaScript's `\s` has U+FEFF and lacks U+001C to U+001F and
 * U+0085.
 */
export const SPACES =
  "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const SPACE = new RegExp(`^[${SPACES}]$`);
export const BLANKS = new RegExp(`[${SPACES}]+`, "g");
const SEPARATORS = "\\x1c-\\x1e";
const LINE_END = new RegExp(`\r\n|[\n\v\f\r${SEPARATORS}\x85\u2028\u2029]`, "g");

const SURROGATE = /[\ud800-\udfff]/;

/**
 * The last text that was split: loops over a text's characters split the same one again and again.
 */
let known: { readonly text: string; readonly points: readonly string[] } = { text: "", points: [] };

/** The characters of a text with some beyond U+FFFF; undefined if all units are characters. */
function pointsOf(text: string): readonly string[] | undefined {
  if (known.text === text) return known.points;
  if (!SURROGATE.test(text)) return undefined;
  known = { text, points: Array.from(text) };
  return known.points;
}

export function lengthOf(text: string): number {
  return pointsOf(text)?.length ?? text.length;
}

export function characterAt(text: string, index: number): string | undefined {
  const points = pointsOf(text);
  return points ? points[index] : text[index];
}

/** From one character up to another, both within the text. */
export function between(text: string, from: number, to: number): string {
  const points = pointsOf(text);
  return points ? points.slice(from, to).join("") : text.slice(from, to);
}

/** The characters at these places. */
export function pick(text: string, places: readonly number[]): string {
  const points = pointsOf(text) ?? text;
  return places.map((place) => points[place]).join("");
}

/** Python's order of texts, by code points. */
export function compareTexts(a: string, b: string): number {
  if (SURROGATE.test(a) || SURROGATE.test(b)) {
    const [left, right] = [Array.from(a), Array.from(b)];
    const different = left.findIndex((point, i) => point !== right[i]);
    if (different < 0) return left.length - right.length;
    return left[different]!.codePointAt(0)! - (right[different]?.codePointAt(0) ?? -1);
  }
  return a < b ? -1 : a > b ? 1 : 0;
}

export function isSpace(text: string): boolean {
  return text !== "" && Array.from(text).every((character) => SPACE.test(character));
}

/** Without these characters at its ends, or without white space. */
export function strip(
  text: string,
  characters?: string,
  sides: "both" | "left" | "right" = "both",
) {
  const set = characters === undefined ? undefined : new Set(characters);
  const isStripped = (character: string) => set?.has(character) ?? SPACE.test(character);
  const points = pointsOf(text) ?? text;
  let from = 0;
  let to = points.length;
  if (sides !== "right") while (from < to && isStripped(points[from]!)) from++;
  if (sides !== "left") while (to > from && isStripped(points[to - 1]!)) to--;
  return between(text, from, to);
}

/** Words between white space. `most`: cuts, from the left or the right; the rest stays as it is. */
export function words(text: string, most = Number.POSITIVE_INFINITY, fromRight = false): string[] {
  const blanks = [...text.matchAll(BLANKS)];
  const inner = blanks.filter(
    ({ index, 0: blank }) => index > 0 && index + blank.length < text.length,
  );
  const cuts = fromRight ? inner.slice(Math.max(0, inner.length - most)) : inner.slice(0, most);
  const parts: string[] = [];
  let from = 0;
  for (const { index, 0: blank } of cuts) {
    parts.push(text.slice(from, index));
    from = index + blank.length;
  }
  parts.push(text.slice(from));
  // What is not cut keeps its blanks in the middle and, on the far side, at its end.
  const isCutAll = inner.length < most;
  if (isCutAll || fromRight) parts[parts.length - 1] = strip(parts.at(-1)!, undefined, "right");
  if (isCutAll || !fromRight) parts[0] = strip(parts[0]!, undefined, "left");
  return parts.filter((part) => part !== "");
}

export function lines(text: string, keepEnds = false): string[] {
  const found: string[] = [];
  let from = 0;
  for (const { index, 0: end } of text.matchAll(LINE_END)) {
    found.push(text.slice(from, keepEnds ? index + end.length : index));
    from = index + end.length;
  }
  if (from < text.length) found.push(text.slice(from));
  return found;
}

/** How often a text occurs in another; an empty one before every character and at the end. */
export function countOf(text: string, part: string): number {
  if (part === "") return lengthOf(text) + 1;
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

/** The first occurrences, replaced; negative `most`: all. */
export function replace(text: string, old: string, by: string, most: number): string {
  if (most < 0) most = Number.POSITIVE_INFINITY;
  if (old === "") {
    const points = Array.from(text);
    const gaps = points.map((point, i) => (i < most ? by + point : point));
    return gaps.join("") + (points.length < most ? by : "");
  }
  const parts: string[] = [];
  let from = 0;
  for (
    let at = text.indexOf(old);
    at >= 0 && parts.length / 2 < most;
    at = text.indexOf(old, from)
  ) {
    parts.push(text.slice(from, at), by);
    from = at + old.length;
  }
  return parts.join("") + text.slice(from);
}

const HTML: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "'": "&#39;",
  '"': "&#34;",
};

/** As markupsafe's `escape`. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>'"]/g, (character) => HTML[character]!);
}

/** Tabs as blanks up to the next multiple of a size. */
export function expandTabs(text: string, size: number): string {
  let column = 0;
  return Array.from(text, (character) => {
    if (character === "\n" || character === "\r") column = 0;
    else if (character === "\t") {
      const blanks = size > 0 ? size - (column % size) : 0;
      column += blanks;
      return " ".repeat(blanks);
    } else column++;
    return character;
  }).join("");
}
