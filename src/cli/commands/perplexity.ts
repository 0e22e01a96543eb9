import type { Engine } from "../../engine/engine.ts";
import { checkScorable, perplexity } from "../../engine/tasks/score.ts";
import { UserError } from "../../errors.ts";
import {
  chunksOf,
  forChunks,
  type ScoredChunks,
  scoreChunks,
} from "../../laboratory/experiments/perplexity.ts";
import { NewFile } from "../../platform/write-file.ts";
import { Command } from "../terminal/command.ts";
import { addEngineFlags, type EngineFlags, engineOptions, integer } from "../terminal/flags.ts";
import { givenFile, readTokens } from "../terminal/input.ts";
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
  readonly file?: string;
  readonly tokens?: string;
  readonly chunks?: number;
  readonly json?: boolean;
  readonly logits?: string;
}

/**
 * `dawnstream perplexity`: how well a model predicts a text, or given ids, position by position.
 */
export function perplexityCommand(): Command {
  const command = new Command("perplexity")
    .description("measure how well a model predicts a text")
    .example("dawnstream perplexity book.txt --context 512 --chunks 4")
    .argument(
      "[file]",
      "UTF-8 text, cut into chunks of the context, each with BOS in front; - is stdin, as is a pipe without it",
    )
    .option("-f, --file <file>", "the same")
    .option(
      "--tokens <file>",
      "score these ids as they are: a JSON array, or an object with `tokens`",
    )
    .option("--chunks <n>", "score only this many chunks of the text", integer)
    .option("--json", "print nll a position, argmax and perplexity")
    .option("--logits <file>", "write the logits as raw little-endian f32 rows [T, V]");
  return addEngineFlags(command).action(async (file: string | undefined, flags: Flags) => {
    if (flags.tokens !== undefined && (file ?? flags.file) !== undefined) {
      throw new UserError("Give either a text or --tokens FILE.");
    }
    if (flags.tokens !== undefined && flags.chunks !== undefined) {
      throw new UserError("--chunks counts pieces of a text: --tokens FILE is scored in one.");
    }
    if (flags.chunks !== undefined && !(flags.chunks >= 1)) {
      throw new UserError(`Invalid --chunks ${flags.chunks}: expected at least 1.`);
    }
    const given = flags.tokens === undefined ? undefined : await readTokens(flags.tokens);
    const text = given ? "" : (await givenFile(file, flags.file)).text;
    // Ids are scored in one piece: the context is as long as they are, unless the user says
    // otherwise.
    const context = flags.context ?? (given && Math.max(1, given.length));
    let chunks: number[][] = [];
    const options = { ...engineOptions(flags), context };
    await withEngine(
      flags.model,
      given ? options : ({ config }) => forChunks(config, options),
      (model) => {
        chunks = given ? [given] : chunksOf(model, text, flags.chunks);
        for (const chunk of chunks) checkScorable(model, chunk);
      },
      (engine) => run(engine, chunks, flags),
    );
  });
}

async function run(
  engine: Engine,
  chunks: readonly (readonly number[])[],
  flags: Flags,
): Promise<void> {
  const signal = interruptSignal();
  // Opened before any work, so that a wrong path wastes none.
  const rows = flags.logits === undefined ? undefined : await NewFile.create(flags.logits);
  const began = performance.now();
  let scored: ScoredChunks;
  try {
    scored = await scoreChunks(engine, chunks, {
      onLogits: rows && ((_, logits) => rows.write(bytesOf(logits))),
      onChunk: (done, nll) => {
        if (flags.json || chunks.length === 1) return;
        const soFar = perplexity(nll).toFixed(4);
        note(`[chunk ${done} of ${chunks.length}: perplexity so far ${soFar}]`);
      },
      signal,
    });
  } catch (error) {
    await rows?.discard();
    throw error;
  }
  const { nll, argmax, tokens } = scored;
  await (tokens > 0 ? rows?.commit() : rows?.discard());
  const ms = performance.now() - began;
  if (signal.aborted) process.exitCode = 130; // as a shell reports Ctrl-C
  if (nll.length === 0) return; // stopped before the first chunk was through
  const value = perplexity(nll);
  if (flags.json)
    await writeJson({
      perplexity: value,
      nll,
      argmax,
      tokens,
      adapter: engine.loaded.adapter,
    });
  else await write(`perplexity ${value.toFixed(4)} over ${nll.length} tokens\n`);
  note(
    `[${loadInWords(engine)} | ${tokens} tokens in ${duration(ms)}, ${rate(tokens, ms).toFixed(1)} tok/s]`,
  );
}

/** Every machine that runs Dawn is little-endian. */
function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
