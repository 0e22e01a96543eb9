// JSON as commands print and keep it. It has no numbers for an infinite perplexity, or for the
// logit of a banned token. These are the texts "Infinity", "-Infinity" and "NaN", which Number
// reads.

const TEXTS: readonly unknown[] = ["Infinity", "-Infinity", "NaN"];

/** `indent`: columns a level; without it all is one line. */
export function toJson(value: unknown, indent?: number): string {
  const asText = (_: string, item: unknown) =>
    typeof item === "number" && !Number.isFinite(item) ? String(item) : item;
  return JSON.stringify(value, asText, indent);
}

/** Reads the output of `toJson`. Throws a `SyntaxError` if it is not JSON. */
export function fromJson(text: string): unknown {
  return JSON.parse(text, (_, item: unknown) => (TEXTS.includes(item) ? Number(item) : item));
}
