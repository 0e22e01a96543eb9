// The `dawnstream` command, which bin/dawnstream.cjs starts. A user's mistake is one line on stderr and status 2; a stack
// trace is our bug.

import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { UserError } from "../errors.ts";
import { DeviceLostError } from "../kernels/device.ts";
import { askCommand } from "./ask.ts";
import { attentionCommand } from "./attention.ts";
import { benchCommand } from "./bench.ts";
import { chatCommand } from "./chat.ts";
import { detokenizeCommand } from "./detokenize.ts";
import { generateCommand } from "./generate.ts";
import { indexCommand } from "./index-files.ts";
import { inspectCommand } from "./inspect.ts";
import { memoryCommand } from "./memory.ts";
import { perplexityCommand } from "./perplexity.ts";
import { planCommand } from "./plan.ts";
import { printableLine } from "./printable.ts";
import { ropeCommand } from "./rope.ts";
import { setupCommand } from "./setup.ts";
import { streamCommand } from "./stream.ts";
import { summarizeCommand } from "./summarize.ts";
import { note } from "./terminal.ts";
import { tokenizeCommand } from "./tokenize.ts";

const { version } = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
) as { version: string };

const program = new Command("dawnstream")
  .description("Run GGUF language models on WebGPU.")
  .version(version);

for (const command of [
  generateCommand(),
  chatCommand(),
  tokenizeCommand(),
  detokenizeCommand(),
  inspectCommand(),
  planCommand(),
  memoryCommand(),
  perplexityCommand(),
  benchCommand(),
  ropeCommand(),
  streamCommand(),
  attentionCommand(),
  summarizeCommand(),
  indexCommand(),
  askCommand(),
  setupCommand(),
]) {
  program.addCommand(command);
}
for (const command of [
  program,
  ...program.commands,
  ...program.commands.flatMap((c) => c.commands),
]) {
  command
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`${oneLine(text)}\n`) })
    .showHelpAfterError(false)
    .showSuggestionAfterError(true)
    .allowExcessArguments(false);
}

// A reader that has seen enough (`| head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  note(`error: Cannot write to stdout: ${oneLine(error.message)}.`);
  process.exit(2);
});

/** What a user typed and what a file holds may have line breaks and control characters; what we say of it does not. */
function oneLine(text: string): string {
  return printableLine(text.trim().replaceAll(/\s*[\r\n]\s*/g, " "));
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed its line; help and version are no mistakes.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else if (error instanceof UserError) {
    note(`error: ${oneLine(error.message)}`);
    process.exitCode = 2;
  } else if (error instanceof DeviceLostError) {
    // No mistake of the user's, and none of ours.
    note(`error: ${oneLine(error.message)}`);
    process.exitCode = 1;
  } else {
    throw error;
  }
}
