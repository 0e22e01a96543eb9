// A running summary of all turns before the most recent ones.

import type { Message } from "../message.ts";
import type { Summarizer } from "../summarizer.ts";
import type { TextTokenizer } from "../text-tokenizer.ts";
import { truncate } from "../truncation.ts";
import type { ConversationMemory, MemoryBudget } from "./memory.ts";
import { isRecent, recent, recentThatFit, type Turns, turnsWithin } from "./turns.ts";

/** What a memory that summarises needs. */
export interface Summarizing {
  readonly summarize: Summarizer;
  /** Cuts a summary that is longer than its share. */
  readonly tokenizer: TextTokenizer;
}

/** The most that a summary, its message and template included, takes of a budget. */
export const SUMMARY_SHARE = 1 / 4;

/** The text before a summary. */
export const SUMMARY_OPENING = "Summary of the conversation so far: ";

/** The summary of a conversation up to one of its turns. */
interface Step {
  readonly turn: string;
  readonly maxTokens: number;
  readonly summary: string;
}

/**
 * Keeps everything while it fits. After that it keeps the `most` recent turns, or fewer if the
 * budget is too small, and a summary of the turns before, which grows turn by turn: the summarizer
 * gets each turn once, with the summary so far. Without room for a summary those turns are dropped.
 */
export function summaryMemory(
  name: string,
  most: number,
  { summarize, tokenizer }: Summarizing,
): ConversationMemory {
  // What has been summarised, turn by turn: a cache, from which a conversation takes its common
  // prefix.
  let known: readonly Step[] = [];

  const summaryOf = async (turns: readonly string[], budget: MemoryBudget) => {
    const share = Math.floor(budget.tokens * SUMMARY_SHARE);
    const maxTokens = share - budget.count([summaryMessage("")]);
    if (maxTokens < 1) return "";
    const differs = known.findIndex(
      (step, at) => step.turn !== turns[at] || step.maxTokens !== maxTokens,
    );
    const steps = differs === -1 ? [...known] : known.slice(0, differs);
    while (steps.length < turns.length) {
      const turn = turns[steps.length]!;
      const soFar = steps.at(-1)?.summary ?? "";
      const text = soFar === "" ? turn : `${SUMMARY_OPENING}${soFar}\n${turn}`;
      const { signal } = budget;
      const told = await summarize(text, { maxTokens, level: soFar === "" ? 1 : 2, signal });
      const size = (summary: string) => budget.count([summaryMessage(summary)]);
      // An empty summary leaves the old one.
      const summary = cut(told, tokenizer, share, size) || soFar;
      steps.push({ turn, maxTokens, summary });
      known = steps;
    }
    return steps.at(-1)?.summary ?? "";
  };

  return {
    name,
    attention: { kind: "full" },
    async recall(conversation, budget) {
      const turns = turnsWithin(conversation, budget);
      const { tokens } = budget;
      const all = turns.starts.length;
      if (recentThatFit(turns, all, tokens, budget) >= all) {
        const fates = conversation.map(() => ({ kind: "kept" as const }));
        return { messages: conversation, tokens: budget.count(conversation), fates };
      }
      const room = tokens - Math.floor(tokens * SUMMARY_SHARE);
      const kept = recentThatFit(turns, most, room, budget);
      const withSummary = (summary: string) => {
        const messages = recent(turns, kept);
        return summary === "" ? messages : told(messages, turns.starts[0]!, summary);
      };
      const size = (summary: string) => budget.count(withSummary(summary));
      // The last turn may leave no room for a summary.
      const whole = size(".") > tokens ? "" : await summaryOf(textsBefore(turns, kept), budget);
      const summary = cut(whole, tokenizer, tokens, size); // the last turn may leave less than the share
      const messages = withSummary(summary);
      const gone = summary === "" ? "dropped" : "summarised";
      return {
        messages,
        tokens: budget.count(messages),
        summary: summary === "" ? undefined : summary,
        fates: conversation.map((_, index) => ({
          kind: isRecent(turns, kept, index) ? "kept" : gone,
        })),
      };
    },
  };
}

/** The turns before the `kept` most recent ones, as texts; without system messages. */
function textsBefore({ conversation, starts }: Turns, kept: number): string[] {
  return starts.slice(0, -kept).map((start, turn) =>
    conversation
      .slice(start, starts[turn + 1])
      .filter(({ role }) => role !== "system")
      .map(({ role, content }) => `${role}: ${content}`)
      .join("\n"),
  );
}

/**
 * Messages with a summary in what opens them: at the end of the last of the `opening` system
 * messages, if there are any, since many templates have room for one system message only, and that
 * in the first place.
 */
function told(messages: readonly Message[], opening: number, summary: string): Message[] {
  const message = summaryMessage(summary);
  const last = messages[opening - 1];
  if (!last) return [message, ...messages];
  return messages.with(opening - 1, { ...last, content: `${last.content}\n\n${message.content}` });
}

function summaryMessage(summary: string): Message {
  return { role: "system", content: SUMMARY_OPENING + summary };
}

/**
 * The beginning of a summary whose `size`, in tokens, is at most `most`; empty if there is none.
 */
function cut(
  summary: string,
  tokenizer: TextTokenizer,
  most: number,
  size: (summary: string) => number,
): string {
  let text = summary.trim();
  while (text !== "") {
    const over = size(text) - most;
    if (over <= 0) return text;
    const room = tokenizer.encode(text, { addSpecial: false }).length - over;
    if (room < 1) return "";
    text = truncate(text, tokenizer, { budget: room }).text;
  }
  return "";
}
