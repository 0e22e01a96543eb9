import { UserError } from "../../errors.ts";

export interface StopStringsOutput {
  /** Text that is certain to come before any stop string. */
  readonly text: string;
  /** The stop string that ended the text. It is not part of any `text`, nor is what came after it. */
  readonly stopped?: string;
}

/**
 * Watches text that arrives in pieces for the first stop string to be complete; of several complete at the same
 * character, the longest. Text that may yet turn out to be the start of one is held back, so no part of a stop
 * string is ever given out, and what comes out does not depend on where the pieces were cut.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  readonly #longest: number;
  /** The end of the text so far, as far as a stop string may have begun in it. */
  #held = "";
  #stopped: string | undefined;

  constructor(stops: readonly string[]) {
    if (stops.includes("")) {
      throw new UserError("A stop string is empty: it must have at least one character.");
    }
    this.#stops = stops;
    this.#longest = Math.max(0, ...stops.map((stop) => stop.length));
  }

  /** Takes the next piece. After the stop nothing comes out any more. */
  push(piece: string): StopStringsOutput {
    if (this.#stopped !== undefined) return { text: "", stopped: this.#stopped };

    const text = this.#held + piece;
    const match = this.#firstMatch(text);
    if (match) {
      this.#held = "";
      this.#stopped = match.stop;
      return { text: text.slice(0, match.start), stopped: match.stop };
    }
    const safe = this.#possibleStart(text);
    this.#held = text.slice(safe);
    return { text: text.slice(0, safe) };
  }

  /** The text still held back, to be called when no piece will come any more. */
  flush(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }

  #firstMatch(text: string): { start: number; stop: string } | undefined {
    let first: { start: number; stop: string } | undefined;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      if (start < 0) continue;
      const earlier = first ? start + stop.length - (first.start + first.stop.length) : -1;
      if (!first || earlier < 0 || (earlier === 0 && start < first.start)) first = { start, stop };
    }
    return first;
  }

  /** Where the earliest stop string that `text` breaks off in may begin; the text's length where none does. */
  #possibleStart(text: string): number {
    for (let start = Math.max(0, text.length - this.#longest + 1); start < text.length; start++) {
      const tail = text.slice(start);
      if (this.#stops.some((stop) => stop.startsWith(tail))) return start;
    }
    return text.length;
  }
}
