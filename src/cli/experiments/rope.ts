// How far does each RoPE scaling carry a model? Perplexity by method, length and position; passkey retrieval by method,
// length and depth. Every cell is kept, so that a stopped sweep goes on where it was.

import { InvalidArgumentError } from "commander";
import { formatRope, parseRope } from "../../context/positions/rope-choice.ts";
import type { Engine } from "../../engine/engine.ts";
import { openTokenizer } from "../../engine/model/open.ts";
import { UserError } from "../../errors.ts";
import {
  DEFAULT_TASK,
  passkeyAccuracy,
  readPasskeyTask,
} from "../../laboratory/experiments/passkey.ts";
import { type RopeResult, scoreWindows } from "../../laboratory/experiments/rope.ts";
import { openFile } from "../../platform/file.ts";
import { reportRope } from "../reports/rope-report.ts";
import { Command } from "../terminal/command.ts";
import {
  addEngineFlags,
  type EngineFlags,
  engineOptions,
  integer,
  outputFile,
  pictureFile,
} from "../terminal/flags.ts";
import { givenFile, readUserFile } from "../terminal/input.ts";
import { interruptSignal, loadEngine, note } from "../terminal/terminal.ts";
import { type Cell, fileIdentity, fingerprint, sweep } from "./sweep.ts";

interface Flags extends EngineFlags {
  readonly methods: readonly string[];
  readonly lengths: readonly number[];
  readonly file?: string;
  readonly chunks: number;
  readonly trials: number;
  readonly depths: readonly number[];
  readonly task?: string;
  readonly keep: string;
  readonly json?: boolean;
  readonly csv?: string;
  readonly plot?: string;
}

/** `dawnstream rope` */
export function ropeCommand(): Command {
  const command = new Command("rope")
    .description(
      "compare RoPE scalings: perplexity by length and position, passkey retrieval by length and depth",
    )
    .example("dawnstream rope book.txt --methods none,yarn:2 --lengths 256..1024 --plot rope.svg")
    .argument(
      "[file]",
      "UTF-8 text for the perplexity, as long as the longest length at least; - is stdin, as is a pipe without it",
    )
    .option("-f, --file <file>", "the same")
    .option(
      "--methods <list>",
      "scalings to compare",
      readMethods,
      readMethods("none,linear:2,ntk:2,yarn:2,dynamic-ntk:2"),
    )
    .option(
      "--lengths <list>",
      "such as 256,512,768 or 256..4096 (doubling)",
      readLengths,
      readLengths("256..2048"),
    )
    .option("--chunks <n>", "windows of the text scored at each length", integer, 1)
    .option("--trials <n>", "passkeys asked for at each depth; 0: none", integer, 2)
    .option("--depths <list>", "where the passkey stands, 0 to 1", readDepths, [0.1, 0.5, 0.9])
    .option(
      "--task <file>",
      "JSON with statement, question, filler, digits in place of the shipped model's task",
    )
    .option("--keep <folder>", "where computed cells are kept", ".dawnstream-rope")
    .option("--json", "print one object")
    .option("--csv <file>", "write one row a figure", outputFile)
    .option("--plot <file>", "draw the curves: .svg or .png", pictureFile);
  return addEngineFlags(command, {
    rope: "--methods names the scalings that are compared",
    context: "it is as long as each of --lengths",
    whenFull: "each text is as long as its context",
  }).action(run);
}

async function run(file: string | undefined, flags: Flags): Promise<void> {
  if (flags.chunks < 1 || flags.trials < 0)
    throw new UserError("--chunks must be at least 1, --trials at least 0.");
  const signal = interruptSignal();
  const { name, text } = await givenFile(file, flags.file);
  const tokenizer = await openTokenizer(flags.model, openFile);
  const task =
    flags.task === undefined ? DEFAULT_TASK : await readUserFile(flags.task, readPasskeyTask);
  const { bos, addBos } = tokenizer.vocabulary;
  const front = addBos && bos !== undefined ? [bos] : [];
  const ids = tokenizer.encode(text, { addSpecial: false });
  const longest = Math.max(...flags.lengths);
  if (ids.length < longest * flags.chunks) {
    throw new UserError(
      `${name} has ${ids.length} tokens: ${flags.chunks} windows of ${longest} need ${longest * flags.chunks}.`,
    );
  }

  const engines = new CurrentEngine(flags);
  const base = [await fileIdentity(flags.model), fingerprint(text), engineOptions(flags)];
  const cells: Cell<RopeResult>[] = flags.methods.flatMap((method) =>
    flags.lengths.flatMap((length) => {
      const windows = Array.from({ length: flags.chunks }, (_, i) => [
        ...front,
        ...ids.slice(i * length, (i + 1) * length - front.length),
      ]);
      const perplexity: Cell<RopeResult> = {
        key: fingerprint(base, "perplexity", method, length, flags.chunks),
        compute: async () =>
          scoreWindows(await engines.get(method, length), windows, method, length),
      };
      const passkeys = (flags.trials > 0 ? flags.depths : []).map(
        (depth): Cell<RopeResult> => ({
          key: fingerprint(base, "passkey", method, length, depth, flags.trials, task),
          compute: async () => {
            const engine = await engines.get(method, length);
            const value = await passkeyAccuracy(
              engine,
              task,
              length - task.digits - 4,
              depth,
              flags.trials,
            );
            return { kind: "passkey", method, length, depth, value };
          },
        }),
      );
      return [perplexity, ...passkeys];
    }),
  );
  let results: RopeResult[];
  try {
    results = (await sweep(cells, flags.keep, signal)).filter((result) => result !== undefined);
  } finally {
    await engines.close();
  }
  await reportRope(results, { ...flags, file: name });
  if (signal.aborted) {
    note(`[stopped after ${results.length} of ${cells.length} cells; the same command goes on]`);
    process.exitCode = 130;
  }
}

/** One engine at a time, loaded for a method and a length. */
class CurrentEngine {
  readonly #flags: Flags;
  #key = "";
  #engine: Engine | undefined;

  constructor(flags: Flags) {
    this.#flags = flags;
  }

  async get(method: string, context: number): Promise<Engine> {
    const key = `${method} ${context}`;
    if (this.#engine && key === this.#key) return this.#engine;
    await this.close();
    const options = { ...engineOptions(this.#flags), rope: parseRope(method), context };
    this.#engine = await loadEngine(this.#flags.model, options, { quiet: true });
    this.#key = key;
    return this.#engine;
  }

  async close(): Promise<void> {
    await this.#engine?.close();
    this.#engine = undefined;
  }
}

function readMethods(text: string): string[] {
  return text.split(",").map((method) => formatRope(parseRope(method)));
}

/** "256,512" as it is; "256..4096" doubles. */
function readLengths(text: string): number[] {
  const [, first, last] = /^(\d+)\.\.(\d+)$/.exec(text) ?? [];
  const lengths: number[] = [];
  if (first === undefined) lengths.push(...text.split(",").map(integer));
  else for (let n = Number(first); n <= Number(last) && n > 0; n *= 2) lengths.push(n);
  if (lengths.length === 0 || lengths.some((n) => n < 16))
    throw new InvalidArgumentError("Expected lengths of 16 or more.");
  return lengths;
}

function readDepths(text: string): number[] {
  const depths = text.split(",").map(Number);
  if (depths.some((depth) => !(depth >= 0 && depth <= 1)))
    throw new InvalidArgumentError("Expected numbers from 0 to 1.");
  return depths;
}
