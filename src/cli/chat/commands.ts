// What a conversation in a terminal understands beside what is said to the model.

import { readConversation, writeConversation } from "../../context/text/conversation.ts";
import { parseMemory } from "../../context/text/memory/conversation-memory.ts";
import type { Message } from "../../context/text/message.ts";
import { chatBudget } from "../../engine/chat/chat-budget.ts";
import { UserError } from "../../errors.ts";
import { writeWholeFile } from "../../platform/write-file.ts";
import { readUserFile } from "../input.ts";
import { memoryTable } from "../memory-report.ts";
import { note } from "../terminal.ts";
import { freeInWords } from "../usage-report.ts";
import type { ChatSession } from "./session.ts";

interface ChatCommand {
  readonly argument?: "FILE" | "[STRATEGY]";
  readonly help: string;
  /** Returns what is to be said about it; nothing ends the conversation. */
  run(session: ChatSession, argument: string): Promise<string | undefined>;
}

/** By name, as it is typed. */
export const CHAT_COMMANDS: Readonly<Record<string, ChatCommand>> = {
  "/usage": {
    help: "tokens of the last answer and of all",
    run: async (session) => usage(session),
  },
  "/context": {
    help: "what the model would read of the conversation now",
    run: async (session) => context(session),
  },
  "/memory": {
    argument: "[STRATEGY]",
    help: "how the conversation is remembered: turns:K, buffer, summary, summary:K, sinks:S+W",
    run: async (session, strategy) => {
      if (strategy !== "") session.remember(parseMemory(strategy));
      return `memory ${session.memory.name}`;
    },
  },
  "/reset": {
    help: "forget what has been said",
    run: async (session) => {
      session.reset();
      return "A new conversation.";
    },
  },
  "/save": {
    argument: "FILE",
    help: "write the conversation to a file",
    run: async ({ messages }, path) => {
      if (messages.length === 0) return "Nothing has been said yet.";
      await writeWholeFile(path, writeConversation(messages));
      return `${messages.length} messages in ${path}`;
    },
  },
  "/load": {
    argument: "FILE",
    help: "go on with a saved conversation",
    run: async (session, path) => {
      const messages = await readUserFile(path, readConversation);
      session.begin(messages);
      return `${messages.length} messages`;
    },
  },
  "/help": {
    help: "this list",
    run: async () =>
      Object.entries(CHAT_COMMANDS)
        .map(([name, { argument = "", help }]) => `${`${name} ${argument}`.padEnd(18)} ${help}`)
        .join("\n"),
  },
  "/exit": { help: "leave; Ctrl-D does, too", run: async () => undefined },
};

/** Runs a line that begins with "/"; false where it ends the conversation. */
export async function runCommand(session: ChatSession, line: string): Promise<boolean> {
  const [name = "", ...rest] = line.split(/\s+/);
  const argument = line.slice(name.length).trim();
  const command = CHAT_COMMANDS[name];
  if (!command) {
    throw new UserError(
      `There is no command ${name}: expected ${Object.keys(CHAT_COMMANDS).join(", ")}.`,
    );
  }
  if (command.argument === "FILE" && argument === "") {
    throw new UserError(`${name} needs the name of a file.`);
  }
  if (command.argument === undefined && rest.length > 0) {
    throw new UserError(`${name} takes nothing after it.`);
  }
  const said = await command.run(session, argument);
  if (said === undefined) return false;
  note(said);
  return true;
}

async function context(session: ChatSession): Promise<string> {
  const { engine, memory, messages, options } = session;
  if (messages.length === 0) return "Nothing has been said yet.";
  const budget = chatBudget(engine, options);
  // As the next question will find it.
  const asking: Message[] = [...messages, { role: "user", content: "" }];
  const recalled = { strategy: memory.name, ...(await memory.recall(asking, budget)) };
  return memoryTable(messages, [recalled], budget).trimEnd();
}

function usage({ last, totals }: ChatSession): string {
  if (!last) return "Nothing has been said yet.";
  const { promptTokens, cachedTokens, generatedTokens } = last.usage;
  const answer = [
    `prompt ${promptTokens} tokens, ${cachedTokens} of them in the cache`,
    `answer ${generatedTokens}`,
    ...freeInWords(last.usage),
  ].join(", ");
  return (
    `last turn: ${answer}\n` +
    `${totals.turns} turns: prompts ${totals.promptTokens} tokens, ${totals.cachedTokens} of them in the cache, ` +
    `answers ${totals.generatedTokens}`
  );
}
