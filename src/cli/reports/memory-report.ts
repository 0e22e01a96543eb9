// The fates of a conversation's messages, as a table.

import type { Fate, MemoryBudget } from "../../context/text/memory/memory.ts";
import { SUMMARY_OPENING } from "../../context/text/memory/summary.ts";
import type { Message } from "../../context/text/message.ts";
import type { Recalled } from "../../laboratory/experiments/memory.ts";
import { table } from "./table.ts";

/** A row a message and a column a strategy, then the summaries. */
export function memoryTable(
  conversation: readonly Message[],
  recalled: readonly Recalled[],
  { tokens, count }: MemoryBudget,
): string {
  const rows = conversation.map((message, i) => [
    inOneLine(`${i + 1} ${message.role}: ${message.content}`, 40),
    count([message]),
    ...recalled.map(({ fates }) => inWords(fates[i]!)),
  ]);
  const last = [
    `together, of a budget of ${tokens}`,
    count(conversation),
    ...recalled.map((memory) => memory.tokens),
  ];
  const head = ["message", "tokens", ...recalled.map(({ strategy }) => strategy)];
  const summaries = recalled
    .filter(({ summary }) => summary !== undefined)
    .map(({ strategy, summary }) => `${inOneLine(`${strategy}: ${SUMMARY_OPENING}${summary}`)}\n`);
  return table(head, [...rows, last]) + summaries.join("");
}

function inWords(fate: Fate): string {
  return fate.kind === "part" ? `${fate.visible} of ${fate.tokens}` : fate.kind;
}

function inOneLine(text: string, most = Number.POSITIVE_INFINITY): string {
  const line = text.replaceAll(/\s+/g, " ");
  const characters = [...line];
  return characters.length <= most ? line : `${characters.slice(0, most - 1).join("")}…`;
}
