// Conversations by turns: where each begins, and how many of the most recent ones fit a budget.

import { largestThat } from "../../../numbers.ts";
import type { Message } from "../message.ts";
import { checkRecall, type MemoryBudget, MessageTooLongError } from "./memory.ts";

/** A conversation and the indices of the messages at which its turns begin. */
export interface Turns {
  readonly conversation: readonly Message[];
  readonly starts: readonly number[];
}

/**
 * The turns of a conversation. Throws a `UserError` for invalid input, and a `MessageTooLongError`
 * if system messages and the last turn exceed the budget.
 */
export function turnsWithin(conversation: readonly Message[], budget: MemoryBudget): Turns {
  checkRecall(conversation, budget);
  const starts: number[] = [];
  for (const [index, { role }] of conversation.entries()) {
    if (role === "user" || (role === "assistant" && starts.length === 0)) starts.push(index);
  }
  const turns = { conversation, starts };
  const needed = budget.count(recent(turns, 1));
  if (needed > budget.tokens) throw tooLong(turns, needed, budget);
  return turns;
}

/** Whether a message stays if the `count` most recent turns do: system messages always stay. */
export function isRecent({ conversation, starts }: Turns, count: number, index: number): boolean {
  const first = starts.at(-count) ?? starts[0] ?? conversation.length;
  return conversation[index]!.role === "system" || index >= first;
}

/** System messages and the `count` most recent turns, at least one. */
export function recent(turns: Turns, count: number): Message[] {
  return turns.conversation.filter((_, index) => isRecent(turns, count, index));
}

/**
 * How many of the most recent turns, 1 to `most`, fit this many tokens; a single turn is assumed to
 * fit.
 */
export function recentThatFit(
  turns: Turns,
  most: number,
  tokens: number,
  { count }: MemoryBudget,
): number {
  const last = Math.min(most, Math.max(1, turns.starts.length));
  return largestThat(1, last, (n) => count(recent(turns, n)) <= tokens);
}

/**
 * The error with the first message that does not fit: of the system messages, then of the last
 * turn.
 */
function tooLong(turns: Turns, needed: number, { tokens, count }: MemoryBudget): Error {
  const { conversation } = turns;
  const isSystem = (index: number) => conversation[index]!.role === "system";
  const needs = [...conversation.keys()].filter((index) => isRecent(turns, 1, index));
  const wanted = [...needs.filter(isSystem), ...needs.filter((index) => !isSystem(index))];
  const exceeds = (_: number, at: number) => {
    const kept = new Set(wanted.slice(0, at + 1));
    return count(conversation.filter((_, index) => kept.has(index))) > tokens;
  };
  const index = wanted[wanted.findIndex(exceeds)]!;
  const message = conversation[index]!;
  return new MessageTooLongError(index, message.role, count([message]), needed, tokens);
}
