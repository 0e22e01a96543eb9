// JSON as commands print and keep it. It has no number for what a broken model gives: an infinite perplexity, or the
// logarithm of a token that is banned. These are the texts "Infinity", "-Infinity" and "NaN", which Number reads.

const TEXTS: readonly unknown[] = ["Infinity", "-Infinity", "NaN"];

/** `indent`: columns a level; without it all is one line. */
export function toJson(value: unknown, indent?: number): string {
  const asText = (_: string, item: unknown) =>
    typeof item === "number" && !Number.isFinite(item) ? String(item) : item;
  return JSON.stringify(value, asText, indent);
}

/** What `toJson` has written. Throws a `SyntaxError` for what is no JSON. */
export function fromJson(text: string): unknown {
  return JSON.parse(text, (_, item: unknown) => (TEXTS.includes(item) ? Number(item) : item));
}
