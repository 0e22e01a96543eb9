// What does a model still see of a long conversation? Which messages each strategy of memory keeps,
// summarises or drops, and how full the context is. Needs no GPU but for summaries.

import { readConversation } from "../../context/text/conversation.ts";
import {
  conversationMemory,
  type MemoryOptions,
  parseMemory,
} from "../../context/text/memory/conversation-memory.ts";
import type { MemoryBudget } from "../../context/text/memory/memory.ts";
import type { Message } from "../../context/text/message.ts";
import type { Summarizer } from "../../context/text/summarizer.ts";
import { chatTemplateOf } from "../../engine/chat/chosen-template.ts";
import { messageCounter } from "../../engine/chat/message-counter.ts";
import type { Engine } from "../../engine/engine.ts";
import { engineSummarizer } from "../../engine/tasks/summarizer.ts";
import { loadTokenizer } from "../../index.ts";
import { compareMemories, type MemoryRun } from "../../laboratory/experiments/memory.ts";
import { whole } from "../../option-reader.ts";
import { templateChoice } from "../chat/chat-template.ts";
import { memoryTable } from "../reports/memory-report.ts";
import { writePlot } from "../reports/plot.ts";
import { Command } from "../terminal/command.ts";
import {
  addModelFlag,
  addTemplateFlag,
  integer,
  type ModelFlags,
  pictureFile,
  type TemplateFlag,
} from "../terminal/flags.ts";
import { givenFile, readNamed } from "../terminal/input.ts";
import {
  duration,
  loadEngine,
  modelPath,
  note,
  withProgress,
  write,
  writeJson,
} from "../terminal/terminal.ts";

interface Flags extends ModelFlags, TemplateFlag {
  readonly file?: string;
  readonly strategy: readonly MemoryOptions[];
  readonly budget: number;
  readonly json?: boolean;
  readonly plot?: string;
}

/** `dawnstream memory` */
export function memoryCommand(): Command {
  const command = new Command("memory")
    .description("show what each strategy keeps of a conversation within a budget of tokens")
    .example("dawnstream memory conversation.json --strategy buffer,turns:2 --budget 200")
    .argument(
      "[file]",
      "JSON or JSON Lines of messages with role and content; - is stdin, as is a pipe without it",
    )
    .option("-f, --file <file>", "the same")
    .requiredOption("--strategy <list>", "turns:K, buffer, summary, summary:K, sinks:S+W", (text) =>
      text.split(",").map(parseMemory),
    )
    .requiredOption("--budget <n>", "tokens that the model may read", readBudget)
    .option("--json", "print one object")
    .option("--plot <file>", "draw how the context fills: .svg or .png", pictureFile);
  return addTemplateFlag(addModelFlag(command)).action(run);
}

async function run(path: string | undefined, flags: Flags): Promise<void> {
  const conversation = readNamed(await givenFile(path, flags.file), readConversation);
  const tokenizer = await loadTokenizer(await modelPath(flags.model));
  const choice = await templateChoice(flags.template);
  const { template } = chatTemplateOf(tokenizer.vocabulary, choice);
  const budget: MemoryBudget = {
    tokens: flags.budget,
    count: messageCounter(tokenizer, template),
  };
  const summaries = { count: 0, ms: 0 };
  let engine: Engine | undefined;
  const summarize: Summarizer = async (text, request) => {
    engine ??= await loadEngine(flags.model, {});
    const began = performance.now();
    const summary = await engineSummarizer(engine)(text, request);
    summaries.count++;
    summaries.ms += performance.now() - began;
    return summary;
  };
  try {
    const memories = flags.strategy.map((options) =>
      conversationMemory(options, { summarize, tokenizer }),
    );
    const results = await withProgress("remembering", "times", (onProgress) =>
      compareMemories(conversation, memories, budget, flags.plot !== undefined, { onProgress }),
    );
    await report(conversation, results, budget, flags);
  } finally {
    await engine?.close();
  }
  if (summaries.count > 0) {
    note(`[${summaries.count} turns summarised in ${duration(summaries.ms)}]`);
  }
}

async function report(
  conversation: readonly Message[],
  results: readonly MemoryRun[],
  budget: MemoryBudget,
  { json, plot }: Flags,
): Promise<void> {
  if (json) {
    await writeJson({
      budget: budget.tokens,
      tokens: budget.count(conversation),
      conversation: conversation.map((message) => ({
        ...message,
        tokens: budget.count([message]),
      })),
      strategies: results.map(({ fill, ...result }) => (plot ? { ...result, fill } : result)),
    });
  } else {
    await write(memoryTable(conversation, results, budget));
  }
  if (plot !== undefined) await draw(plot, results, budget);
}

function draw(path: string, results: readonly MemoryRun[], budget: MemoryBudget): Promise<void> {
  const points = results.flatMap(({ strategy, fill }) =>
    fill.map(({ message, tokens }) => ({ x: message, y: tokens, series: strategy })),
  );
  const xs = points.map(({ x }) => x);
  const line = [Math.min(...xs), Math.max(...xs)].map((x) => ({
    x,
    y: budget.tokens,
    series: "budget",
  }));
  return writePlot(path, {
    title: "How full is the context as a conversation goes on?",
    subtitle: "tokens that the model sees when it answers, by strategy",
    panels: [{ x: "message", y: "tokens", points: [...points, ...line] }],
  });
}

function readBudget(text: string): number {
  return whole(1, 2 ** 31)(integer(text), "budget");
}
