// Makes text safe for a terminal and for pictures. Names, messages and tokens come out of files,
// and a control character among them could move the cursor, rename the window or end an SVG; such
// characters are shown as JSON writes them: \u001b.

/**
 * Text of many lines: breaks of lines and tabs stay, and so does what orders Arabic or Hebrew text.
 */
export function printable(text: string): string {
  return text.replaceAll(/(?!\n|\t|\r\n)[\p{Cc}\p{Cs}\ufffe\uffff]/gu, escaped);
}

/** A name or a cell of a table: one line, in the order in which it is stored. */
export function printableLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}\ufffe\uffff]/gu, escaped);
}

/**
 * What a user typed and what a file holds may have line breaks and control characters; our messages
 * do not.
 */
export function oneLine(text: string): string {
  return printableLine(text.trim().replaceAll(/\s*[\r\n]\s*/g, " "));
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
