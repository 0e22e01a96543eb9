// Keys and pastes. A terminal that is asked for it marks where a pasted text begins and ends
// ("bracketed paste", of xterm's control sequences), so that its line breaks are not taken for
// Enter.

import type { Key } from "node:readline";

export const MARK_PASTES = "\x1b[?2004h";
export const MARK_NO_PASTES = "\x1b[?2004l";
const PASTE_START = "\x1b[200~";
const PASTE_END = "\x1b[201~";

/** What is typed at once: a key as node:readline decodes it, or a pasted text. */
export type Typed =
  | { readonly kind: "key"; readonly text: string | undefined; readonly key: Key }
  | { readonly kind: "paste"; readonly text: string };

/** Puts pastes together from the events of `emitKeypressEvents`. */
export class PasteReader {
  #pasted: string[] | undefined;

  /** Undefined within a paste. */
  take(text: string | undefined, key: Key): Typed | undefined {
    const { sequence = "" } = key;
    if (this.#pasted === undefined) {
      if (sequence !== PASTE_START) return { kind: "key", text, key };
      this.#pasted = [];
      return undefined;
    }
    // An escape character right before the mark is decoded with it.
    if (!sequence.endsWith(PASTE_END)) {
      this.#pasted.push(sequence);
      return undefined;
    }
    const pasted = this.#pasted.join("") + sequence.slice(0, -PASTE_END.length);
    this.#pasted = undefined;
    return { kind: "paste", text: plainText(pasted) };
  }
}

/** With line breaks as "\n", which terminals give as "\r", and without what would move a cursor. */
export function plainText(text: string): string {
  return text.replaceAll(/\r\n?/g, "\n").replaceAll(/(?![\n\t])\p{Cc}/gu, "");
}
