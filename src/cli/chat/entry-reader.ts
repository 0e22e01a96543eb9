// Lines of a terminal or a pipe, combined into entries: a message of one or several lines, or a
// command.

import { UserError } from "../../errors.ts";

export interface Entry {
  readonly kind: "message" | "command";
  readonly text: string;
}

const QUOTES = '"""';
/**
 * What opens and closes a message of several lines; or what a command is given, behind its name.
 */
const OPENING = /^\s*(\/\S+\s+)?"""/;
const CLOSING = /"""\s*$/;
/** A backslash that no other one escapes. */
const CONTINUED = /(?<!\\)(?:\\\\)*\\$/;

/** Reads one entry. */
export class EntryReader {
  #lines: string[] = [];
  /** The command before the quotes, or "" for a message; undefined if none are open. */
  #quoting: string | undefined;
  #isVerbatim = false;

  /** Whether the next line goes on with what has been read. */
  get isOpen(): boolean {
    return this.#lines.length > 0;
  }

  /**
   * Takes a line without its line break, and gives an entry if it is whole. A line from a terminal
   * may hold pasted line breaks: a text of `pastes` that has some, at the beginning or the end of
   * the line, opens, closes and continues nothing, and is not a command.
   */
  take(line: string, pastes: readonly string[] = []): Entry | undefined {
    const blocks = pastes.filter((paste) => paste.includes("\n"));
    let text = line;
    if (!this.isOpen) {
      const isPastedAt = (at: number) => blocks.some((block) => line.startsWith(block, at));
      this.#isVerbatim = isPastedAt(0);
      const [opening, command = ""] = OPENING.exec(line) ?? [];
      if (opening && !this.#isVerbatim && !isPastedAt(opening.length - QUOTES.length)) {
        this.#quoting = command;
        text = line.slice(opening.length);
      }
    }
    const isQuoted = this.#quoting !== undefined;
    const endsVerbatim = blocks.some((block) => line.endsWith(block));
    const isClosed = isQuoted && !endsVerbatim && CLOSING.test(text);
    const isContinued = !isQuoted && !endsVerbatim && CONTINUED.test(text);
    if (isClosed) text = text.replace(CLOSING, "");
    if (isContinued) text = text.slice(0, -1);
    this.#lines.push(text);
    return isQuoted === isClosed && !isContinued ? this.#whole() : undefined;
  }

  /**
   * The entry that a backslash left open at the end of the input. Throws a `UserError` if quotes
   * are open.
   */
  end(): Entry | undefined {
    if (this.#quoting !== undefined) {
      throw new UserError('The input ends within a message: close it with """.');
    }
    return this.isOpen ? this.#whole() : undefined;
  }

  #whole(): Entry {
    const text = this.#lines.join("\n");
    if (this.#quoting !== undefined) {
      const command = this.#quoting.trim();
      // The quotes may stand on lines of their own.
      const quoted = text.replace(/^[^\S\n]*\n/, "").replace(/\n[^\S\n]*$/, "");
      return command === ""
        ? { kind: "message", text: quoted }
        : { kind: "command", text: `${command} ${quoted}` };
    }
    if (!this.#isVerbatim && text.trimStart().startsWith("/")) {
      return { kind: "command", text: text.trim() };
    }
    // Of several lines the first may be indented.
    const begun = text.replace(/^(?:[^\S\n]*\n)+/, "");
    return { kind: "message", text: begun.includes("\n") ? begun.trimEnd() : begun.trim() };
  }
}

/**
 * How a user would enter this at once, to be recalled from a history: `EntryReader` makes the same
 * of it.
 */
export function asEntered({ kind, text }: Entry): string {
  const read = new EntryReader().take(text);
  return read?.kind === kind && read.text === text ? text : `"""\n${text}\n"""`;
}
