// A conversation on a terminal, or of the lines of a pipe: what is entered is a message, or a
// command that begins with "/".
// In this room: lines, keys and commands of such a conversation. Not in it: how messages become a
// prompt (engine/chat).

import { basename } from "node:path";
import type { WriteStream } from "node:tty";
import { readConversation } from "../../context/text/conversation.ts";
import { type MemoryOptions, parseMemory } from "../../context/text/memory/conversation-memory.ts";
import { type ChosenTemplate, chatTemplateOf } from "../../engine/chat/chosen-template.ts";
import type { Engine } from "../../engine/engine.ts";
import { prepareGeneration } from "../../engine/generation/generation-request.ts";
import type { Setting } from "../../engine/options.ts";
import { UserError } from "../../errors.ts";
import { Command } from "../terminal/command.ts";
import { addDraftFlag, type DraftFlag, draftToCheck, withDraft } from "../terminal/drafts.ts";
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
} from "../terminal/flags.ts";
import { readUserFile } from "../terminal/input.ts";
import { note, withEngine, writeText } from "../terminal/terminal.ts";
import { templateChoice } from "./chat-template.ts";
import { completions, runCommand } from "./commands.ts";
import { asEntered, type Entry, EntryReader } from "./entry-reader.ts";
import { ChatHistory, historyFile } from "./history.ts";
import { type LineSource, PipedLines, TerminalLines, terminal } from "./line-source.ts";
import { ChatSession } from "./session.ts";
import { Settings } from "./settings.ts";

interface Flags extends EngineFlags, SamplingFlags, TemplateFlag, DraftFlag {
  readonly system?: string;
  readonly memory?: MemoryOptions;
  readonly load?: string;
  readonly maxTokens?: number;
  readonly stop?: readonly string[];
  readonly history: boolean;
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
    .option("--stop <text>", "end an answer before this text (repeatable)", collect)
    .option("--no-history", "keep nothing of what is entered on a terminal for later chats");
  addSamplingFlags(addEngineFlags(addTemplateFlag(addDraftFlag(command))));
  return command.action(async (flags: Flags) => {
    const begun = flags.load === undefined ? [] : await readUserFile(flags.load, readConversation);
    const answer = { ...samplingOptions(flags), maxTokens: flags.maxTokens, stop: flags.stop };
    const choice = await templateChoice(flags.template);
    await withEngine(
      flags.model,
      engineOptions(flags),
      (model) => {
        chatTemplateOf(model.tokenizer.vocabulary, choice);
        const attention = flags.memory?.kind === "sinks" ? flags.memory : undefined;
        prepareGeneration(model, [0], { attention, ...answer, draft: draftToCheck(flags) });
      },
      (engine) =>
        withDraft(flags, engine, async (draft) => {
          const chosen = chatTemplateOf(engine.tokenizer.vocabulary, choice);
          if (chosen.warning !== undefined) note(`warning: ${chosen.warning}`);
          const session = new ChatSession(engine, {
            template: chosen.template,
            memory: flags.memory ?? ownMemory(engine.setting),
            answer: { ...answer, draft },
            settings: new Settings(command.options),
            system: flags.system,
          });
          session.begin(begun);
          const output = terminal();
          if (output) note(greeting(engine, flags.model, chosen));
          await converse(session, output, flags.history);
        }),
    );
  });
}

function greeting({ config }: Engine, path: string, { name }: ChosenTemplate): string {
  const template = { default: "of the file", given: "given" }[name] ?? name;
  return (
    `${config.name} (${basename(path)}), chat template: ${template}. ` +
    "/help lists the commands, Ctrl-D leaves."
  );
}

/** Under attention that forgets no message has to be left out; otherwise all must fit. */
function ownMemory({ policy: { sinks, window } }: Setting): MemoryOptions {
  return window === Number.POSITIVE_INFINITY
    ? { kind: "buffer" }
    : { kind: "sinks", sinks, window };
}

/**
 * Answers one entry after the other, until there are no more. `output`: the terminal that they are
 * typed on.
 */
async function converse(
  session: ChatSession,
  output: WriteStream | undefined,
  keepsHistory: boolean,
): Promise<void> {
  const history = await ChatHistory.open(output && keepsHistory ? historyFile : undefined);
  const complete = (line: string) => completions(line, session.settings);
  const lines = output
    ? new TerminalLines(output, complete, () => session.interrupt())
    : new PipedLines();
  let isInterrupted = false;
  const interrupt = () => {
    isInterrupted = true;
    session.interrupt();
    lines.close();
  };
  process.once("SIGINT", interrupt);
  try {
    for (;;) {
      const entry = await readEntry(lines, history.entries);
      if (entry === "interrupted") isInterrupted = true;
      if (typeof entry === "string") break;
      if (entry.text.trim() === "") continue;
      if (output) await history.add(asEntered(entry));
      if (!(await answer(session, entry, output !== undefined))) break;
    }
  } finally {
    process.off("SIGINT", interrupt);
    lines.close();
  }
  if (isInterrupted) process.exitCode = 130; // as a shell reports Ctrl-C
}

async function readEntry(
  lines: LineSource,
  history: readonly string[],
): Promise<Entry | "interrupted" | "ended"> {
  let reader = new EntryReader();
  for (;;) {
    const line = await lines.read({ prompt: reader.isOpen ? "... " : "> ", history });
    if (typeof line === "object") {
      const entry = reader.take(line.text, line.pastes);
      if (entry) return entry;
    } else if (line === "ended") {
      // On a terminal, an unfinished entry is dropped when the input ends.
      return lines.isTerminal ? line : (reader.end() ?? line);
    } else if (line === "interrupted" && !reader.isOpen) {
      return line;
    } else {
      reader = new EntryReader();
    }
  }
}

/**
 * Executes an entry; false if it ends the conversation. On a terminal, a mistake is printed and the
 * conversation goes on.
 */
async function answer(session: ChatSession, entry: Entry, isTerminal: boolean): Promise<boolean> {
  try {
    if (entry.kind === "command") return await runCommand(session, entry.text);
    await session.say(entry.text, writeText);
  } catch (error) {
    if (!isTerminal || !(error instanceof UserError)) throw error;
    note(`error: ${error.message}`);
  }
  return true;
}
