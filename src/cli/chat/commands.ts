// The commands of a conversation on the command line.

import { readConversation, writeConversation } from "../../context/text/conversation.ts";
import { parseMemory } from "../../context/text/memory/conversation-memory.ts";
import type { Message } from "../../context/text/message.ts";
import { chatBudget } from "../../engine/chat/chat-budget.ts";
import { UserError } from "../../errors.ts";
import { knownNames } from "../../option-reader.ts";
import { writeWholeFile } from "../../platform/write-file.ts";
import { memoryTable } from "../reports/memory-report.ts";
import { freeInWords } from "../reports/usage-report.ts";
import { readUserFile } from "../terminal/input.ts";
import { note } from "../terminal/terminal.ts";
import type { ChatSession } from "./session.ts";
import type { Settings } from "./settings.ts";

interface ChatCommand {
  /** In brackets: it may be missing. */
  readonly argument?: "FILE" | "save|load FILE" | "[STRATEGY]" | "[TEXT]" | "[NAME VALUE]";
  readonly help: string;
  /** Returns the text to print; undefined ends the conversation. */
  run(session: ChatSession, argument: string): Promise<string | undefined>;
}

/** By name, as it is typed. */
const COMMANDS: Readonly<Record<string, ChatCommand>> = {
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
  "/set": {
    argument: "[NAME VALUE]",
    help: "how the next answers are made, as by the flags: /set temperature 0.5",
    run: async (session, argument) => set(session, argument),
  },
  "/system": {
    argument: "[TEXT]",
    help: 'what the model is told before the conversation; "": nothing',
    run: async (session, text) => {
      if (text !== "") session.tell(text === '""' ? undefined : text);
      return session.system ?? "The model is told nothing before the conversation.";
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
  "/session": {
    argument: "save|load FILE",
    help: "save or load the conversation with its pages: only new messages are computed",
    run: session,
  },
  "/help": { help: "this list", run: async () => HELP },
  "/bye": { help: "leave; /quit, /exit and Ctrl-D do, too", run: async () => undefined },
};
const ALIASES: Readonly<Record<string, string>> = { "/quit": "/bye", "/exit": "/bye" };
const NAMES = [...Object.keys(COMMANDS), ...Object.keys(ALIASES)];

const HELP = `${Object.entries(COMMANDS)
  .map(([name, { argument = "", help }]) => `${`${name} ${argument}`.padEnd(23)} ${help}`)
  .join("\n")}
A message of several lines: paste it, or begin and end it with """, or end each line but the last with \\.
Ctrl-C stops an answer, or takes back what has been typed; without either it leaves.`;

/** Completions of a line that begins a command. */
export function completions(line: string, { names }: Settings): string[] {
  const commands = NAMES.map((name) => (COMMANDS[name]?.argument ? `${name} ` : name));
  const settings = names.map((name) => `/set ${name} `);
  const candidates = line.startsWith("/set ") ? settings : commands;
  return candidates.filter((text) => line !== "" && text.startsWith(line));
}

/** Runs a line that begins with "/"; false if it ends the conversation. */
export async function runCommand(session: ChatSession, line: string): Promise<boolean> {
  const [name = ""] = line.split(/\s/, 1);
  const argument = line.slice(name.length).trim();
  const known = Object.hasOwn(ALIASES, name) ? ALIASES[name]! : name;
  const command = Object.hasOwn(COMMANDS, known) ? COMMANDS[known] : undefined;
  if (!command) throw new UserError(`There is no command ${name}: ${knownNames(name, NAMES)}.`);
  if (command.argument === "FILE" && argument === "") {
    throw new UserError(`${name} needs the name of a file.`);
  }
  if (command.argument === undefined && argument !== "") {
    throw new UserError(`${name} takes nothing after it.`);
  }
  const said = await command.run(session, argument);
  if (said === undefined) return false;
  note(said);
  return true;
}

/** "save FILE" or "load FILE". */
async function session(session: ChatSession, argument: string): Promise<string> {
  const { engine, messages } = session;
  const [verb = ""] = argument.split(/\s/, 1);
  const path = argument.slice(verb.length).trim();
  if (!["save", "load"].includes(verb) || path === "") {
    throw new UserError("/session takes save FILE or load FILE.");
  }
  if (verb === "save") {
    if (messages.length === 0) return "Nothing has been said yet.";
    await engine.saveSession(path, messages);
    return `${messages.length} messages and their pages in ${path}`;
  }
  const opened = await engine.openSession(path);
  if (!opened.messages) {
    opened.sequence?.clear();
    throw new UserError(
      `${path} has a text, not a conversation: \`dawnstream generate --session\` goes on from it.`,
    );
  }
  session.begin(opened.messages);
  return `${opened.messages.length} messages`;
}

/** "temperature 0.5"; without a value it prints the option, without a name all of them. */
function set(session: ChatSession, argument: string): string {
  const { settings } = session;
  const { samplingDefaults } = session.engine;
  const [name = ""] = argument.split(/\s/, 1);
  const value = argument.slice(name.length).trim();
  if (name === "") return settings.describe(session.answer, samplingDefaults);
  if (value !== "") {
    settings.change(session.answer, name, value, (options) => session.choose(options));
  }
  return settings.describe(session.answer, samplingDefaults, name);
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
