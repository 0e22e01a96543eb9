// A conversation in a terminal, or of the lines of a file: each line is a message, or a command that begins with "/".

import { createInterface } from "node:readline";
import { Command } from "commander";
import { readConversation } from "../context/text/conversation.ts";
import { type MemoryOptions, parseMemory } from "../context/text/memory/conversation-memory.ts";
import type { Message } from "../context/text/message.ts";
import { chatTemplateOf } from "../engine/chat/chosen-template.ts";
import { prepareGeneration } from "../engine/generation.ts";
import { UserError } from "../kernels/errors.ts";
import { CHAT_COMMANDS, runCommand } from "./chat-commands.ts";
import { ChatSession } from "./chat-session.ts";
import { templateChoice } from "./chat-template.ts";
import {
  addEngineFlags,
  addSamplingFlags,
  addTemplateFlag,
  type EngineFlags,
  engineOptions,
  integer,
  reading,
  type SamplingFlags,
  samplingOptions,
  type TemplateFlag,
} from "./flags.ts";
import { readUserFile } from "./input.ts";
import { withEngine, write } from "./terminal.ts";

interface Flags extends EngineFlags, SamplingFlags, TemplateFlag {
  readonly system?: string;
  readonly memory?: MemoryOptions;
  readonly load?: string;
  readonly maxTokens?: number;
}

/** `dawnstream chat` */
export function chatCommand(): Command {
  const command = new Command("chat")
    .description("talk with a model; /help tells the commands of a conversation")
    .option("--system <text>", "what the model is told before the conversation")
    .option(
      "--memory <strategy>",
      "what of a long conversation the model reads: turns:K, buffer, summary, summary:K, sinks:S+W (default: buffer)",
      reading(parseMemory),
    )
    .option("--load <file>", "go on with a saved conversation")
    .option("--max-tokens <n>", "the most tokens of an answer (default: 256)", integer);
  addSamplingFlags(addEngineFlags(addTemplateFlag(command)));
  return command.action(async (flags: Flags) => {
    const begun = flags.load === undefined ? [] : await readUserFile(flags.load, readConversation);
    const system: Message[] =
      flags.system === undefined ? [] : [{ role: "system", content: flags.system }];
    const options = { ...samplingOptions(flags), maxTokens: flags.maxTokens };
    const choice = await templateChoice(flags.template);
    await withEngine(
      flags.model,
      // Summaries are made between turns, beside the conversation in the cache.
      { ...engineOptions(flags), sequences: flags.memory?.kind === "summary" ? 2 : 1 },
      (model) => {
        chatTemplateOf(model.tokenizer.vocabulary, choice);
        const attention = flags.memory?.kind === "sinks" ? flags.memory : undefined;
        prepareGeneration(model, [0], { attention, ...options });
      },
      async (engine) => {
        const { template, warning } = chatTemplateOf(engine.tokenizer.vocabulary, choice);
        if (warning !== undefined) console.error(`warning: ${warning}`);
        const { memory = { kind: "buffer" } } = flags;
        const session = new ChatSession(engine, { ...options, template }, memory);
        session.begin([...system, ...begun]);
        await converse(session);
      },
    );
  });
}

/** Answers line after line, until there are no more. Ctrl-C ends the answer in work; where there is none, the program. */
async function converse(session: ChatSession): Promise<void> {
  const isTerminal = process.stdin.isTTY === true;
  const lines = createInterface({
    input: process.stdin,
    output: isTerminal ? process.stderr : undefined,
    terminal: isTerminal,
    prompt: "> ",
    completer: (line: string) => [
      Object.keys(CHAT_COMMANDS).filter((name) => line.startsWith("/") && name.startsWith(line)),
      line,
    ],
  });
  const interrupt = () => {
    if (session.interrupt()) return;
    process.exitCode = 130; // as a shell reports Ctrl-C
    lines.close();
  };
  lines.on("SIGINT", interrupt);
  process.on("SIGINT", interrupt);
  try {
    lines.prompt();
    for await (const line of lines) {
      if (!(await answer(session, line.trim(), isTerminal))) break;
      lines.prompt();
    }
  } finally {
    process.off("SIGINT", interrupt);
    lines.close();
  }
}

/** Does what a line asks; false where it asks for the end. On a terminal, a mistake is told and the conversation goes on. */
async function answer(session: ChatSession, line: string, isTerminal: boolean): Promise<boolean> {
  try {
    if (line.startsWith("/")) return await runCommand(session, line);
    if (line !== "") await session.say(line, write);
  } catch (error) {
    if (!isTerminal || !(error instanceof UserError)) throw error;
    console.error(`error: ${error.message}`);
  }
  return true;
}
