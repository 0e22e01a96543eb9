import { POOLINGS, type Pooling } from "../../context/text/embedder.ts";
import type { Engine } from "../../engine/engine.ts";
import { UserError } from "../../errors.ts";
import { Command } from "../terminal/command.ts";
import {
  addEngineFlags,
  choice,
  collect,
  type EngineFlags,
  engineOptions,
  integer,
} from "../terminal/flags.ts";
import { readText } from "../terminal/input.ts";
import {
  duration,
  interruptSignal,
  loadInWords,
  note,
  rate,
  withEngine,
  write,
  writeJson,
} from "../terminal/terminal.ts";

interface Flags extends EngineFlags {
  readonly file?: readonly string[];
  readonly pooling?: Pooling;
  readonly layer?: number;
  readonly json?: boolean;
}

/** A text and its vector, of length 1. */
interface Embedded {
  readonly text: string;
  readonly tokens: number;
  readonly vector: readonly number[];
}

/** `dawnstream embed`: texts as vectors, those that fit in one step. */
export function embedCommand(): Command {
  const command = new Command("embed")
    .description("turn texts into vectors of length 1, whose dot products are cosines")
    .example('dawnstream embed "a cat" "a dog" --model all-minilm-l6-v2.F16.gguf')
    .argument("[texts...]", "the texts; - is stdin, as is a pipe without any")
    .option("-f, --file <file>", "take one of the texts from a file (repeatable)", collect)
    .option(
      "--pooling <kind>",
      `what of a text's tokens is its vector: ${POOLINGS.join(", ")} (default: what the file says, or mean)`,
      choice(POOLINGS),
    )
    .option("--layer <n>", "whose hidden states, 0 the embeddings (default: the last)", integer)
    .option("--json", "print one object with the texts, their tokens and vectors");
  return addEngineFlags(command).action(async (given: readonly string[], flags: Flags) => {
    const texts = await readTexts(given, flags.file ?? []);
    await withEngine(
      flags.model,
      engineOptions(flags),
      () => {},
      (engine) => embedTexts(engine, texts, flags),
    );
  });
}

/** The texts of arguments and files, in this order; of a pipe if there are none. */
async function readTexts(given: readonly string[], files: readonly string[]): Promise<string[]> {
  const isPiped = given.length + files.length === 0 && process.stdin.isTTY !== true;
  const texts: string[] = [];
  for (const text of isPiped ? ["-"] : given) texts.push(text === "-" ? await readText("-") : text);
  for (const file of files) texts.push(await readText(file));
  if (texts.length > 0) return texts;
  throw new UserError("No text: give TEXT, --file FILE, or a text by a pipe.");
}

async function embedTexts(
  engine: Engine,
  texts: readonly string[],
  { pooling, layer, json }: Flags,
): Promise<void> {
  const signal = interruptSignal();
  const began = performance.now();
  let embeddings: Embedded[];
  try {
    embeddings = await Promise.all(
      texts.map(async (text) => {
        const vector = await engine.embed(text, { pooling, layer, signal });
        return { text, tokens: engine.tokenize(text).length, vector: Array.from(vector) };
      }),
    );
  } catch (error) {
    if (!signal.aborted) throw error;
    process.exitCode = 130; // as a shell reports Ctrl-C; nothing is written
    return;
  }
  const ms = performance.now() - began;
  const { config, loaded } = engine;
  if (json) {
    await writeJson({
      model: config.name,
      width: config.width,
      embeddings,
      ms,
      adapter: loaded.adapter,
    });
  } else {
    for (const { vector } of embeddings) await write(`${vector.map(digits).join(" ")}\n`);
  }
  const tokens = embeddings.reduce((sum, each) => sum + each.tokens, 0);
  note(
    `[${loadInWords(engine)} | ${texts.length} ${texts.length === 1 ? "text" : "texts"}, ${tokens} tokens ` +
      `in ${duration(ms)}, ${rate(texts.length, ms).toFixed(1)} texts/s]`,
  );
}

/** As many digits as an f32 has. */
const digits = (value: number) => Number(value.toPrecision(7)).toString();
