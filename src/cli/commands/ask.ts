import { generateWithRetrieval } from "../../context/text/retrieval/answer.ts";
import { decodeIndex } from "../../context/text/retrieval/index-file.ts";
import {
  RETRIEVAL_MODES,
  type RetrievalMode,
  type ScoredChunk,
  TextIndex,
} from "../../context/text/retrieval/text-index.ts";
import type { Engine } from "../../engine/engine.ts";
import { UserError } from "../../errors.ts";
import { scoreAllWindows } from "../../laboratory/experiments/retrieval.ts";
import { plotScores } from "../reports/scores-plot.ts";
import { promptInWords, usageJson } from "../reports/usage-report.ts";
import { Command } from "../terminal/command.ts";
import {
  addEngineFlags,
  addSamplingFlags,
  choice,
  collect,
  type EngineFlags,
  engineOptions,
  integer,
  ONE_TEXT,
  pictureFile,
  type SamplingFlags,
  samplingOptions,
} from "../terminal/flags.ts";
import { givenText, readBytes } from "../terminal/input.ts";
import {
  interruptSignal,
  loadInWords,
  note,
  rate,
  withEngine,
  write,
  writeJson,
  writeText,
} from "../terminal/terminal.ts";

interface Flags extends EngineFlags, SamplingFlags {
  readonly file?: string;
  readonly index: string;
  readonly k: number;
  readonly mode: RetrievalMode;
  readonly sourcesOnly?: boolean;
  readonly maxTokens?: number;
  readonly stop?: readonly string[];
  readonly json?: boolean;
  readonly plot?: string;
}

/** `dawnstream ask`: what an index has on a question, and what the model makes of it. */
export function askCommand(): Command {
  const command = new Command("ask")
    .description("answer a question from an index of texts")
    .example('dawnstream ask "Who had a red ball?" --index stories.index')
    .argument("[question]", "the question; - is stdin, as is a pipe without it")
    .option("-f, --file <file>", "take the question from a file")
    .requiredOption("--index <file>", "what `index` has written, with the same model")
    .option("--k <n>", "the most windows to retrieve", integer, 5)
    .option(
      "--mode <mode>",
      `rank windows by meaning, by words, or by both: ${RETRIEVAL_MODES.join(", ")}`,
      choice(RETRIEVAL_MODES),
      "hybrid",
    )
    .option("--sources-only", "print what is found, and generate nothing")
    .option(
      "-n, --max-tokens <n>",
      "the most tokens of the answer (default: 256, at most a quarter of the context)",
      integer,
    )
    .option("--stop <text>", "end before this text (repeatable)", collect)
    .option("--json", "print one object with answer, sources, scores and counts")
    .option("--plot <file>", "draw the scores of all windows: .svg or .png", pictureFile);
  addSamplingFlags(addEngineFlags(command, ONE_TEXT));
  return command.action(async (argument: string | undefined, flags: Flags) => {
    const question = (await givenText(argument, flags.file)).trim();
    if (question === "") throw new UserError("The question is empty: give some text.");
    const contents = await decodeIndex(await readBytes(flags.index));
    await withEngine(
      flags.model,
      engineOptions(flags),
      () => {},
      async (engine) => {
        const index = await TextIndex.load(contents, engine);
        if (flags.sourcesOnly) await printFound(index, question, flags);
        else await answer(engine, index, question, flags);
        if (flags.plot === undefined) return;
        await plotScores(flags.plot, question, await scoreAllWindows(index, question, flags.k));
      },
    );
  });
}

async function printFound(index: TextIndex, question: string, flags: Flags): Promise<void> {
  const { k, mode, json } = flags;
  const sources = await index.retrieve(question, { k, mode });
  if (json) return writeJson({ question, mode, sources });
  if (sources.length === 0) note("[no window shares a word with the question]");
  for (const [i, chunk] of sources.entries()) {
    await write(`${line(i, chunk)}\n${chunk.text.trim()}\n\n`);
  }
}

async function answer(
  engine: Engine,
  index: TextIndex,
  question: string,
  flags: Flags,
): Promise<void> {
  const { k, mode, maxTokens, stop, json } = flags;
  const signal = interruptSignal();
  const options = { ...samplingOptions(flags), k, mode, maxTokens, stop, signal };
  const generation = generateWithRetrieval(engine, index, question, options);
  for (;;) {
    const { done, value } = await generation.next();
    if (!done) {
      if (!json) await writeText(value.text);
      continue;
    }
    const { text, sources, leftOut, finishReason, usage, tokens, seed } = value;
    if (json) {
      const { adapter } = engine.loaded;
      await writeJson({
        question,
        mode,
        answer: text,
        sources,
        leftOut,
        finishReason,
        usage: usageJson(usage),
        seed,
        adapter,
      });
    } else {
      const lines = sources.map((chunk, i) => `${line(i, chunk)}, ${chunk.tokens} tokens\n`);
      await write(`\n\n${lines.join("")}`);
    }
    const decoded = Math.max(0, tokens.length - 1); // the first one comes out of the prefill
    note(
      `[${loadInWords(engine)} | ${promptInWords(usage)}, ${sources.length} sources` +
        `${leftOut.length > 0 ? ` (no room for ${leftOut.length} more)` : ""} | ` +
        `${tokens.length} tokens, ${rate(decoded, value.decodeMs).toFixed(1)} tok/s | ${finishReason} | seed ${seed}]`,
    );
    if (finishReason === "aborted") process.exitCode = 130; // as a shell reports Ctrl-C
    return;
  }
}

function line(i: number, { source, start, end, score }: ScoredChunk): string {
  return `[${i + 1}] ${source}, tokens ${start} to ${end}, score ${score.toPrecision(3)}`;
}
