// The command line as a value: every command with its flags.

import { readFileSync } from "node:fs";
import type { Command as AnyCommand } from "commander";
import { OptionError, type UserError } from "../errors.ts";
import { chatCommand } from "./chat/chat.ts";
import { askCommand } from "./commands/ask.ts";
import { detokenizeCommand } from "./commands/detokenize.ts";
import { embedCommand } from "./commands/embed.ts";
import { generateCommand } from "./commands/generate.ts";
import { indexCommand } from "./commands/index-files.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { memoryCommand } from "./commands/memory.ts";
import { modelsCommand } from "./commands/models.ts";
import { perplexityCommand } from "./commands/perplexity.ts";
import { planCommand } from "./commands/plan.ts";
import { pullCommand } from "./commands/pull.ts";
import { setupCommand } from "./commands/setup.ts";
import { summarizeCommand } from "./commands/summarize.ts";
import { tokenizeCommand } from "./commands/tokenize.ts";
import { attentionCommand } from "./experiments/attention.ts";
import { benchCommand } from "./experiments/bench.ts";
import { cacheCommand } from "./experiments/cache.ts";
import { kernelsCommand } from "./experiments/kernels.ts";
import { ropeCommand } from "./experiments/rope.ts";
import { streamCommand } from "./experiments/stream.ts";
import { Command } from "./terminal/command.ts";

const { version } = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
) as { version: string };

export const program: Command = new Command("dawnstream")
  .description("Run GGUF language models on WebGPU.")
  .example('dawnstream generate "Once upon a time"')
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
  kernelsCommand(),
  ropeCommand(),
  streamCommand(),
  attentionCommand(),
  cacheCommand(),
  summarizeCommand(),
  embedCommand(),
  indexCommand(),
  askCommand(),
  pullCommand(),
  modelsCommand(),
  setupCommand(),
]) {
  program.addCommand(command);
}

/** The command that runs. */
let running: AnyCommand = program;
program.hook("preAction", (_, command) => {
  running = command;
});

/** Flags whose names differ from the option's. */
const FLAGS: Readonly<Record<string, string>> = { pageSize: "page" };

/** The message of an error, with options named as flags. */
export function messageOf(error: UserError): string {
  if (!(error instanceof OptionError)) return error.message;
  const attribute = FLAGS[error.option] ?? error.option;
  const flag = running.options.find((option) => option.attributeName() === attribute)?.long;
  return flag ? error.messageFor(flag) : error.message;
}
