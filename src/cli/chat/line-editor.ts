// One line that is typed and edited on a terminal. node:readline edits it; line breaks in it come
// from a paste or a history.

import { createInterface, type Interface } from "node:readline";
import { PassThrough } from "node:stream";
import type { Typed } from "./paste-reader.ts";

/** What has been entered, and what of it has been pasted. */
export interface Line {
  readonly text: string;
  readonly pastes: readonly string[];
}

/** Ctrl-C with a text, which is gone; Ctrl-C without one; the end of the input, as by Ctrl-D. */
export type NoLine = "cleared" | "interrupted" | "ended";

export interface EditorOptions {
  readonly output: NodeJS.WritableStream;
  readonly prompt: string;
  /** What the arrows bring back, the newest first. */
  readonly history: readonly string[];
  /** Completions of the line. */
  readonly complete: (line: string) => readonly string[];
}

export class LineEditor {
  readonly #lines: Interface;
  readonly #output: NodeJS.WritableStream;
  readonly #done: (line: Line | NoLine) => void;
  readonly #pastes: string[] = [];
  #isDone = false;

  /** `done` is called once with how the line ended. */
  constructor(options: EditorOptions, done: (line: Line | NoLine) => void) {
    const { output, prompt, history, complete } = options;
    this.#output = output;
    this.#done = done;
    this.#lines = createInterface({
      input: new PassThrough(), // keys come by `press`
      output,
      terminal: true,
      prompt,
      history: [...history],
      historySize: history.length + 1,
      completer: (line: string) => [complete(line), line],
    });
    // Node 24 gives "\r" for line breaks within a line.
    this.#lines.once("line", (text) =>
      this.#end({ text: text.replaceAll("\r", "\n"), pastes: this.#pastes }),
    );
    this.#lines.once("close", () => this.stop());
    this.#lines.prompt();
  }

  press(typed: Typed): void {
    if (typed.kind === "paste") this.#paste(typed.text);
    else if (typed.key.ctrl && typed.key.name === "c") this.#cancel();
    else this.#lines.write(typed.text as string, typed.key);
  }

  /** Writes the line again, as after the terminal has shown something else. */
  refresh(): void {
    this.#lines.prompt(true);
  }

  /** Ends without a line. */
  stop(): void {
    if (!this.#isDone) this.#output.write("\n");
    this.#end("ended");
  }

  /** readline has no call that inserts line breaks. */
  #paste(text: string): void {
    const { line, cursor } = this.#lines;
    this.#pastes.push(text);
    Object.assign(this.#lines, {
      line: line.slice(0, cursor) + text + line.slice(cursor),
      cursor: cursor + text.length,
    });
    this.refresh();
  }

  #cancel(): void {
    const { line } = this.#lines;
    this.#lines.write(null, { name: "end" });
    this.#output.write("\n");
    this.#end(line === "" ? "interrupted" : "cleared");
  }

  #end(line: Line | NoLine): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#lines.close();
    this.#done(line);
  }
}
