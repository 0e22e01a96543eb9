// A conversation in a terminal, or of the lines of a file: each line is a message, or a command that begins with "/".

import { createInterface } from "node:readline";
import { readConversation } from "../context/text/conversation.ts";
import { type MemoryOptions, parseMemory } from "../context/text/memory/conversation-memory.ts";
import type { Message } from "../context/text/message.ts";
import { chatTemplateOf } from "../engine/chat/chosen-template.ts";
import type { Setting } from "../engine/options.ts";
import { prepareGeneration } from "../engine/tasks/generation.ts";
import { UserError } from "../errors.ts";
import { CHAT_COMMANDS, runCommand } from "./chat-commands.ts";
import { ChatSession } from "./chat-session.ts";
import { templateChoice } from "./chat-template.ts";
import { Command } from "./command.ts";
import {
  addEngineFlags,
  addSamplingFlags,
  addTemplateFlag,
  collect,
  type EngineFlags,
  engineOptions,
  integer,
  type SamplingFlags,
  samplingOptions,
  type TemplateFlag,
} from "./flags.ts";
import { readUserFile } from "./input.ts";
import { note, withEngine, writeText } from "./terminal.ts";

interface Flags extends EngineFlags, SamplingFlags, TemplateFlag {
  readonly system?: string;
  readonly memory?: MemoryOptions;
  readonly load?: string;
  readonly maxTokens?: number;
  readonly stop?: readonly string[];
}

/** `dawnstream chat` */
export function chatCommand(): Command {
  const command = new Command("chat")
    .description("talk with a model; /help tells the commands of a conversation")
    .example('dawnstream chat --system "You tell short stories." --memory buffer')
    .option("--system <text>", "what the model is told before the conversation")
    .option(
      "--memory <strategy>",
      "what of a long conversation the model reads: turns:K, buffer, summary, summary:K, sinks:S+W (default: buffer, or what --attention keeps)",
      parseMemory,
    )
    .option("--load <file>", "go on with a saved conversation")
    .option("-n, --max-tokens <n>", "the most tokens of an answer (default: 256)", integer)
    .option("--stop <text>", "end an answer before this text (repeatable)", collect);
  addSamplingFlags(addEngineFlags(addTemplateFlag(command)));
  return command.action(async (flags: Flags) => {
    const begun = flags.load === undefined ? [] : await readUserFile(flags.load, readConversation);
    const system: Message[] =
      flags.system === undefined ? [] : [{ role: "system", content: flags.system }];
    const options = { ...samplingOptions(flags), maxTokens: flags.maxTokens, stop: flags.stop };
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
        if (warning !== undefined) note(`warning: ${warning}`);
        const memory = flags.memory ?? ownMemory(engine.setting);
        const session = new ChatSession(engine, { ...options, template }, memory, system);
        session.begin(begun);
        await converse(session);
      },
    );
  });
}

/** What the cache forgets need not be left out; what is all kept has to fit. */
function ownMemory({ policy: { sinks, window } }: Setting): MemoryOptions {
  return window === Number.POSITIVE_INFINITY
    ? { kind: "buffer" }
    : { kind: "sinks", sinks, window };
}

/** Answers line after line, until there are no more. */
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
  // In a terminal Ctrl-C ends the answer, or takes back what has been typed; elsewhere it ends the conversation, too.
  lines.on("SIGINT", () => {
    if (session.interrupt()) return;
    if (lines.line === "") note("\n/exit or Ctrl-D leaves");
    lines.write(null, { ctrl: true, name: "u" });
    lines.prompt();
  });
  let isClosed = false;
  lines.once("close", () => {
    isClosed = true;
  });
  let isInterrupted = false;
  const interrupt = () => {
    isInterrupted = true;
    session.interrupt();
    process.exitCode = 130; // as a shell reports Ctrl-C
    lines.close();
  };
  process.once("SIGINT", interrupt);
  try {
    lines.prompt();
    for await (const line of lines) {
      if (isInterrupted || !(await answer(session, line.trim(), isTerminal))) break;
      if (!isClosed) lines.prompt(); // lines are kept when their end has come already
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
    if (line !== "") await session.say(line, writeText);
  } catch (error) {
    if (!isTerminal || !(error instanceof UserError)) throw error;
    note(`error: ${error.message}`);
  }
  return true;
}
