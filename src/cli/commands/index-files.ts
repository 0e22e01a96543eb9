import { POOLINGS, type Pooling } from "../../context/text/embedder.ts";
import {
  DEFAULT_SIZE,
  type IndexOptions,
  indexSetting,
  TextIndex,
  WINDOW_MARGIN,
} from "../../context/text/retrieval/text-index.ts";
import type { Engine } from "../../engine/engine.ts";
import { UserError } from "../../errors.ts";
import { writeWholeFile } from "../../platform/write-file.ts";
import { Command } from "../terminal/command.ts";
import {
  addEngineFlags,
  choice,
  collect,
  type EngineFlags,
  engineOptions,
  integer,
  outputFile,
} from "../terminal/flags.ts";
import { givenFile } from "../terminal/input.ts";
import {
  duration,
  interruptSignal,
  loadInWords,
  note,
  progress,
  rate,
  size as sizeOf,
  withEngine,
  write,
  writeJson,
} from "../terminal/terminal.ts";

interface Flags extends EngineFlags {
  readonly file?: readonly string[];
  readonly out: string;
  readonly size?: number;
  readonly overlap?: number;
  readonly pooling?: Pooling;
  readonly layer?: number;
  readonly whiten: boolean;
  readonly json?: boolean;
}

interface Document {
  readonly source: string;
  readonly text: string;
}

/** A window is embedded in one step, as far as there is one. */
const MAX_CHUNK = 4096;

/**
 * `dawnstream index`: cuts texts into windows, embeds them, and keeps them in one file for
 * `dawnstream ask`.
 */
export function indexCommand(): Command {
  const command = new Command("index")
    .description("cut texts into windows and embed them, for `ask`")
    .example("dawnstream index lily.txt tom.txt --out stories.index")
    .argument("[files...]", "UTF-8 texts; - is stdin, as is a pipe without any")
    .option("-f, --file <file>", "one of them (repeatable)", collect)
    .requiredOption("--out <file>", "the index to write", outputFile)
    .option("--size <n>", "tokens of a window (default: 256, at most half the context)", integer)
    .option("--overlap <n>", "tokens that windows share (default: an eighth of them)", integer)
    .option(
      "--pooling <kind>",
      `what of a window's tokens is its vector: ${POOLINGS.join(", ")} (default: what the file says, or mean)`,
      choice(POOLINGS),
    )
    .option(
      "--layer <n>",
      "whose hidden states, 0 the embeddings (default: the middle one; the last, if the file says how to pool)",
      integer,
    )
    .option("--no-whiten", "take cosines of the vectors as they are: for models made to embed")
    .option("--json", "print one object");
  return addEngineFlags(command).action(async (files: readonly string[], flags: Flags) => {
    const documents = await readDocuments([...files, ...(flags.file ?? [])]);
    const { size, overlap, pooling, layer, whiten } = flags;
    // Commander takes a flag that can only be taken away for given.
    const options = { size, overlap, pooling, layer, whiten: whiten ? undefined : false };
    const step = Math.max(1, size ?? DEFAULT_SIZE) + WINDOW_MARGIN;
    const chunk = flags.chunk ?? Math.min(step, MAX_CHUNK);
    await withEngine(
      flags.model,
      { ...engineOptions(flags), chunk },
      (model) => indexSetting(model, options),
      (engine) => indexDocuments(engine, documents, options, flags),
    );
  });
}

async function readDocuments(files: readonly string[]): Promise<Document[]> {
  const paths = files.length > 0 ? files : [undefined];
  const texts = await Promise.all(paths.map((path) => givenFile(path, undefined)));
  return texts.map(({ name, text }) => {
    if (text.trim() === "") throw new UserError(`Nothing to index: ${name} has no text.`);
    return { source: name, text };
  });
}

async function indexDocuments(
  engine: Engine,
  documents: readonly Document[],
  options: IndexOptions,
  { out, json }: Flags,
): Promise<void> {
  const signal = interruptSignal();
  const index = new TextIndex(engine, options);
  const lengths = documents.map(
    ({ text }) => engine.tokenizer.encode(text, { addSpecial: false }).length,
  );
  const tokens = lengths.reduce((a, b) => a + b, 0);
  const bar = progress("embedding", tokens, "tokens");
  const began = performance.now();
  let done = 0;
  const rows: { source: string; tokens: number; windows: number }[] = [];
  try {
    for (const [i, { source, text }] of documents.entries()) {
      const before = index.chunks.length;
      await index.add(text, source, { signal, onWindow: ({ end }) => bar.update(done + end) });
      done += lengths[i]!;
      const row = { source, tokens: lengths[i]!, windows: index.chunks.length - before };
      rows.push(row);
      if (!json) await write(`${source}: ${row.tokens} tokens in ${row.windows} windows\n`);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    process.exitCode = 130; // as a shell reports Ctrl-C; nothing is written
    return;
  } finally {
    bar.stop();
  }
  const ms = performance.now() - began;
  const bytes = await index.save();
  await writeWholeFile(out, bytes);
  const windows = index.chunks.length;
  if (json) {
    const { config } = engine;
    const { setting } = index;
    await writeJson({
      model: config.name,
      ...setting,
      documents: rows,
      windows,
      tokens,
      ms,
      adapter: engine.loaded.adapter,
    });
  }
  const { size, overlap } = index.setting;
  note(
    `[${loadInWords(engine)} | ${windows} windows of ${size} tokens, ${overlap} shared | ` +
      `${tokens} tokens in ${duration(ms)}, ${rate(tokens, ms).toFixed(0)} tok/s | ${out}: ${sizeOf(bytes.length)}]`,
  );
}
