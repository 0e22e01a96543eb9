// How far does each RoPE scaling carry a model? Perplexity by method, length and position; passkey
// retrieval by method, length and depth. Every cell is kept, so that a stopped sweep goes on where
// it was.

import { InvalidArgumentError } from "commander";
import { formatRope, parseRope } from "../../context/positions/rope-choice.ts";
import { openTokenizer } from "../../engine/model/open.ts";
import type { EngineOptions } from "../../engine/options.ts";
import { UserError } from "../../errors.ts";
import { DEFAULT_TASK, readPasskeyTask } from "../../laboratory/experiments/passkey.ts";
import {
  compareScalings,
  type RopeResult,
  type RopeSetting,
} from "../../laboratory/experiments/rope.ts";
import { openFile } from "../../platform/file.ts";
import { reportRope } from "../reports/rope-report.ts";
import { Command } from "../terminal/command.ts";
import {
  addEngineFlags,
  type EngineFlags,
  engineOptions,
  integer,
  ONE_TEXT,
  outputFile,
  pictureFile,
} from "../terminal/flags.ts";
import { givenFile, readUserFile } from "../terminal/input.ts";
import {
  interruptSignal,
  loadEngine,
  modelPath,
  note,
  withProgress,
} from "../terminal/terminal.ts";
import { cellFolder, fileIdentity, fingerprint } from "./cell-folder.ts";

interface Flags extends EngineFlags, RopeSetting {
  readonly file?: string;
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
    ...ONE_TEXT,
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
  const model = await modelPath(flags.model);
  const tokenizer = await openTokenizer(model, openFile);
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

  const base = [await fileIdentity(model), fingerprint(text), engineOptions(flags)];
  const store = await cellFolder<RopeResult>(flags.keep, base);
  const open = (needed: EngineOptions) =>
    loadEngine(model, { ...engineOptions(flags), ...needed }, { quiet: true });
  const { results, cells } = await withProgress("measuring", "cells", (onProgress) =>
    compareScalings(open, { front, ids }, task, flags, store, { onProgress, signal }),
  );
  await reportRope(results, { ...flags, file: name });
  if (signal.aborted) {
    note(`[stopped after ${results.length} of ${cells} cells; the same command goes on]`);
    process.exitCode = 130;
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
