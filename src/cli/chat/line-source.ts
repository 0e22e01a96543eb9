// Where the lines of a conversation come from: a terminal, key by key, or a pipe.

import { createInterface, emitKeypressEvents, type Key } from "node:readline";
import type { WriteStream } from "node:tty";
import { type EditorOptions, type Line, LineEditor, type NoLine } from "./line-editor.ts";
import { MARK_NO_PASTES, MARK_PASTES, PasteReader, type Typed } from "./paste-reader.ts";

export interface LineSource {
  readonly isTerminal: boolean;
  read(asked: Pick<EditorOptions, "prompt" | "history">): Promise<Line | NoLine>;
  /** Ends the input, and the line that is being read. */
  close(): void;
}

/** The stream of a terminal that shows what is typed: results may go elsewhere. */
export function terminal(): WriteStream | undefined {
  if (process.stdin.isTTY !== true) return undefined;
  return [process.stderr, process.stdout].find(({ isTTY }) => isTTY === true);
}

export class PipedLines implements LineSource {
  readonly isTerminal = false;
  readonly #interface = createInterface({ input: process.stdin });
  readonly #lines = this.#interface[Symbol.asyncIterator]();
  #isClosed = false;

  async read(): Promise<Line | NoLine> {
    const { done, value } = await this.#lines.next();
    if (this.#isClosed) return "interrupted";
    return done ? "ended" : { text: value, pastes: [] };
  }

  close(): void {
    this.#isClosed = true;
    this.#interface.close();
  }
}

/** Signals that end the process at once if nothing listens to them. */
const ENDING_SIGNALS = ["SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/**
 * Keys of a terminal. Keys typed while no line is being read wait for the next one, except Ctrl-C,
 * which calls `interrupt`, and Ctrl-Z. Until `close` the terminal gives keys as they are typed and
 * marks pastes; this is reset however the process ends.
 */
export class TerminalLines implements LineSource {
  readonly isTerminal = true;
  readonly #output: WriteStream;
  readonly #complete: EditorOptions["complete"];
  readonly #interrupt: () => void;
  readonly #pastes = new PasteReader();
  #waiting: Typed[] = [];
  #editor: LineEditor | undefined;
  #isEnded = false;

  constructor(output: WriteStream, complete: EditorOptions["complete"], interrupt: () => void) {
    this.#output = output;
    this.#complete = complete;
    this.#interrupt = interrupt;
    emitKeypressEvents(process.stdin);
    process.stdin.on("keypress", this.#press).on("end", this.#end);
    // A terminal that has gone.
    for (const stream of [process.stdin, output]) stream.on("error", this.#end);
    process.on("SIGCONT", this.#continue).once("exit", this.#restore);
    for (const signal of ENDING_SIGNALS) process.once(signal, this.#die);
    this.#prepare();
    process.stdin.resume();
  }

  read(asked: Pick<EditorOptions, "prompt" | "history">): Promise<Line | NoLine> {
    if (this.#isEnded) return Promise.resolve("ended");
    return new Promise((resolve) => {
      const options = { ...asked, output: this.#output, complete: this.#complete };
      this.#editor = new LineEditor(options, (line) => {
        this.#editor = undefined;
        resolve(line);
      });
      while (this.#editor && this.#waiting.length > 0) this.#editor.press(this.#waiting.shift()!);
    });
  }

  close(): void {
    this.#end();
    this.#restore();
    process.stdin.off("keypress", this.#press).off("end", this.#end).pause();
    process.off("SIGCONT", this.#continue).off("exit", this.#restore);
    for (const signal of ENDING_SIGNALS) process.off(signal, this.#die);
  }

  readonly #press = (text: string | undefined, key: Key) => {
    const typed = this.#pastes.take(text, key);
    if (typed === undefined) return;
    const control = typed.kind === "key" && typed.key.ctrl ? typed.key.name : undefined;
    if (control === "z") {
      this.#restore();
      process.kill(process.pid, "SIGTSTP");
    } else if (this.#editor) {
      this.#editor.press(typed);
    } else if (control === "c") {
      this.#waiting = [];
      this.#interrupt();
    } else {
      this.#waiting.push(typed);
    }
  };

  readonly #end = () => {
    this.#isEnded = true;
    this.#editor?.stop();
  };

  readonly #continue = () => {
    this.#prepare();
    this.#editor?.refresh();
  };

  readonly #die = (signal: NodeJS.Signals) => {
    this.#restore();
    process.kill(process.pid, signal); // nothing listens to it any more
  };

  #prepare(): void {
    process.stdin.setRawMode(true);
    if (process.env.TERM !== "dumb") this.#output.write(MARK_PASTES);
  }

  readonly #restore = () => {
    if (process.env.TERM !== "dumb") this.#output.write(MARK_NO_PASTES);
    process.stdin.setRawMode(false);
  };
}
