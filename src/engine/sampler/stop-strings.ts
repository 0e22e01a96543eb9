import { UserError } from "../../errors.ts";

interface StopStringsOutput {
  /** Text that is certain to come before any stop string. */
  readonly text: string;
  /**
   * The stop string that ended the text. It is not part of any `text`, nor is what came after it.
   */
  readonly stopped?: string;
}

/**
 * Watches text that arrives in pieces for the first stop string to be complete; of several complete
 * at the same character, the longest. Text that may be the start of one is held back, so no part of
 * a stop string is ever returned, and the result does not depend on where pieces were cut.
 *
 * Control tokens are not text, but a stop string may spell one ("<|eot_id|>", "\n<|user|>"): such a
 * string is searched in the text with control tokens, all others in the text without.
 */
export class StopStrings {
  readonly #stops: readonly { readonly text: string; readonly spellsControl: boolean }[];
  readonly #longest: number;
  readonly #spellsControl: boolean;
  /**
   * The end of the text so far, control tokens included, as far as a stop string may have begun in
   * it.
   */
  #held = "";
  /** Whether each UTF-16 unit of the held text is text, not part of a control token. */
  #isText: boolean[] = [];
  #stopped: string | undefined;

  constructor(stops: readonly string[], spellsControl: (stop: string) => boolean = () => false) {
    if (stops.includes("")) {
      throw new UserError("A stop string is empty: it must have at least one character.");
    }
    this.#stops = stops.map((text) => ({ text, spellsControl: spellsControl(text) }));
    this.#longest = Math.max(0, ...stops.map((stop) => stop.length));
    this.#spellsControl = this.#stops.some((stop) => stop.spellsControl);
  }

  /** Takes the next piece. Returns nothing after the stop. */
  push(piece: string): StopStringsOutput {
    return this.#take(piece, true);
  }

  /** Takes the spelling of a control token; it is never returned. */
  pushControl(spelling: string): StopStringsOutput {
    return this.#take(this.#spellsControl ? spelling : "", false);
  }

  /** Returns the text still held back, after the last piece. */
  flush(): string {
    return this.#release(this.#held.length);
  }

  #take(piece: string, isText: boolean): StopStringsOutput {
    if (this.#stopped !== undefined) return { text: "", stopped: this.#stopped };
    this.#held += piece;
    for (let i = 0; i < piece.length; i++) this.#isText.push(isText);

    const match = this.#firstMatch();
    if (!match) return { text: this.#release(this.#possibleStart()) };
    const text = this.#release(match.start);
    this.flush();
    this.#stopped = match.stop;
    return { text, stopped: match.stop };
  }

  /** Removes the held text up to a place, and returns it without control tokens. */
  #release(end: number): string {
    const units = Array.from({ length: end }, (_, i) => (this.#isText[i] ? this.#held[i]! : ""));
    this.#held = this.#held.slice(end);
    this.#isText.splice(0, end);
    return units.join("");
  }

  /** The text to search for a stop string, and the place of each of its units in the held text. */
  #textFor(spellsControl: boolean): { text: string; places: readonly number[] } {
    const all = Array.from(this.#isText, (_, i) => i);
    const places = spellsControl ? all : all.filter((i) => this.#isText[i]);
    return { text: places.map((i) => this.#held[i]!).join(""), places };
  }

  #firstMatch(): { start: number; stop: string } | undefined {
    let first: { start: number; end: number; stop: string } | undefined;
    for (const spellsControl of [false, true]) {
      const { text, places } = this.#textFor(spellsControl);
      for (const stop of this.#stops) {
        const at = stop.spellsControl === spellsControl ? text.indexOf(stop.text) : -1;
        if (at < 0) continue;
        const start = places[at]!;
        const end = places[at + stop.text.length - 1]!;
        if (!first || end < first.end || (end === first.end && start < first.start)) {
          first = { start, end, stop: stop.text };
        }
      }
    }
    return first;
  }

  /**
   * Where the earliest stop string that may still be completed begins; the end of the held text if
   * there is none.
   */
  #possibleStart(): number {
    let earliest = this.#held.length;
    for (const spellsControl of [false, true]) {
      const { text, places } = this.#textFor(spellsControl);
      const stops = this.#stops.filter((stop) => stop.spellsControl === spellsControl);
      for (let at = Math.max(0, text.length - this.#longest + 1); at < text.length; at++) {
        const tail = text.slice(at);
        if (!stops.some((stop) => stop.text.startsWith(tail))) continue;
        earliest = Math.min(earliest, places[at]!);
        break;
      }
    }
    return earliest;
  }
}
