// A document of any length in few words: windows, summaries, summaries of summaries, and the tree
// of them.

import {
  DEFAULT_FAN_IN,
  type SummaryNode,
  type SummaryTree,
} from "../../context/text/summaries.ts";
import { checkWindows } from "../../context/text/windows.ts";
import type { Engine } from "../../engine/engine.ts";
import {
  type EngineSummaryOptions,
  instructionBehind,
  summaryWindow,
} from "../../engine/tasks/summarizer.ts";
import { UserError } from "../../errors.ts";
import { Command } from "../terminal/command.ts";
import {
  addEngineFlags,
  addSamplingFlags,
  type EngineFlags,
  engineOptions,
  integer,
  ONE_TEXT,
  type SamplingFlags,
  samplingOptions,
} from "../terminal/flags.ts";
import { givenFile } from "../terminal/input.ts";
import {
  duration,
  interruptSignal,
  loadInWords,
  note,
  type Progress,
  progress,
  withEngine,
  write,
  writeJson,
  writeText,
} from "../terminal/terminal.ts";

interface Flags extends EngineFlags, SamplingFlags {
  readonly file?: string;
  readonly budget: number;
  readonly window?: number;
  readonly overlap: number;
  readonly fanIn: number;
  readonly instruction?: string;
  readonly tree?: boolean;
  readonly json?: boolean;
}

/** `dawnstream summarize` */
export function summarizeCommand(): Command {
  const command = new Command("summarize")
    .description(
      "summarise a text of any length by windows, and summaries of summaries; greedily unless told otherwise",
    )
    .example("dawnstream summarize book.txt --budget 100 --tree")
    .argument("[file]", "UTF-8 text; - is stdin, as is a pipe without it")
    .option("-f, --file <file>", "the same")
    .requiredOption("--budget <n>", "the most tokens of the summary", integer)
    .option(
      "--window <n>",
      "tokens of a window (default: what the context has room for beside prompt and summary)",
      integer,
    )
    .option("--overlap <n>", "tokens that a window shares with the one before it", integer, 0)
    .option("--fan-in <n>", "at least this many summaries fit a window", integer, DEFAULT_FAN_IN)
    .option("--instruction <text>", "what the model is given behind the text to continue")
    .option("--tree", "print all summaries and the windows that they were made from")
    .option("--json", "print one object with the tree");
  addSamplingFlags(addEngineFlags(command, ONE_TEXT), 0);
  return command.action(async (file: string | undefined, flags: Flags) => {
    const { name, text: document } = await givenFile(file, flags.file);
    if (document.trim() === "") throw new UserError(`Nothing to summarise: ${name} has no text.`);
    const { budget, window, overlap, fanIn, instruction } = flags;
    const options: EngineSummaryOptions = {
      ...samplingOptions(flags),
      ...{ budget, overlap, fanIn, size: window },
      prompt: instructionBehind(instruction),
      signal: interruptSignal(),
    };
    await withEngine(
      flags.model,
      engineOptions(flags),
      (model) => checkWindows({ size: summaryWindow(model, options), overlap }),
      (engine) => run(engine, document, options, flags),
    );
  });
}

async function run(
  engine: Engine,
  document: string,
  options: EngineSummaryOptions,
  flags: Flags,
): Promise<void> {
  const began = performance.now();
  let bar: Progress | undefined;
  let [windows, summarised, summaries] = [0, 0, 0];
  const onNode = ({ level }: SummaryNode) => {
    if (level === 0) windows++;
    else summaries++;
    if (level !== 1) return;
    bar ??= progress("summarising", windows, "windows");
    bar.update(++summarised);
  };
  let tree: SummaryTree | undefined;
  try {
    tree = await engine.summarize(document, { ...options, onNode });
  } catch (error) {
    if (!options.signal!.aborted) throw error;
    process.exitCode = 130; // as a shell reports Ctrl-C
  } finally {
    bar?.stop();
  }
  const ms = performance.now() - began;
  if (tree) {
    const window = summaryWindow(engine, options);
    if (flags.json)
      await writeJson({ ...report(tree), window, adapter: engine.loaded.adapter, ms });
    else if (flags.tree) await write(outline(tree.root));
    else await writeText(`${tree.root.text}\n`);
  }
  note(
    `[${loadInWords(engine)} | ${windows} windows, ${summaries} summaries in ${duration(ms)}${tree ? "" : " | aborted"}]`,
  );
}

function report({ root, levels }: SummaryTree) {
  return {
    summary: root.text,
    tokens: root.tokens,
    documentTokens: root.end,
    nodes: levels.map((level) => level.length),
    tree: root,
  };
}

/** A node a line, what it was made from below it and further in; of a window, its beginning. */
function outline({ level, text, tokens, start, end, children }: SummaryNode, indent = ""): string {
  const words = JSON.stringify(level === 0 && text.length > 60 ? `${text.slice(0, 59)}…` : text);
  const what = level === 0 ? "window" : `level ${level}`;
  const line = `${indent}${what}, tokens ${start} to ${end}, in ${tokens}: ${words}\n`;
  return line + children.map((child) => outline(child, `${indent}  `)).join("");
}
