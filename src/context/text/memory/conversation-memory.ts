// The strategies by name: "turns:3", "buffer", "summary", "summary:3", "sinks:4+252".

import { UserError } from "../../../errors.ts";
import {
  callback,
  invalid,
  isOfKind,
  isWhole,
  needed,
  type Reader,
  type Readers,
  readOptions,
} from "../../../option-reader.ts";
import { attentionPolicy } from "../../positions/attention-policy.ts";
import { textTokenizer } from "../truncation.ts";
import type { ConversationMemory } from "./memory.ts";
import { recentTurns } from "./recent-turns.ts";
import { sinksMemory } from "./sinks.ts";
import { type Summarizing, summaryMemory } from "./summary.ts";

export type MemoryOptions =
  /** This many of the most recent turns, or fewer if the budget is too small. */
  | { readonly kind: "turns"; readonly turns: number }
  /** As many of the most recent turns as the budget holds. */
  | { readonly kind: "buffer" }
  /**
   * This many of the most recent turns, and a summary of the turns before. "summary" is one turn.
   */
  | { readonly kind: "summary"; readonly turns: number }
  /** Everything; the cache keeps the first `sinks` and the last `window` tokens. */
  | { readonly kind: "sinks"; readonly sinks: number; readonly window: number };

/** A memory as text, as on the command line. */
export type MemoryText =
  | "buffer"
  | "summary"
  | `${"turns" | "summary"}:${number}`
  | `sinks:${number}+${number}`;

const FORMS =
  "turns:K, buffer, summary, summary:K or sinks:S+W with whole numbers K >= 1, S >= 0 and W >= 1";

const isTurns = (turns: unknown) => isWhole(turns, 1);

const KINDS = {
  turns: { turns: isTurns },
  buffer: {},
  summary: { turns: isTurns },
  sinks: {
    sinks: (sinks: unknown) => isWhole(sinks, 0),
    window: (window: unknown) => isWhole(window, 1),
  },
};

export const SUMMARIZING_READERS = {
  summarize: needed(callback),
  tokenizer: needed(textTokenizer),
} satisfies Readers<Summarizing>;

/** The options of a memory, from themselves or from their text. */
export const memoryReader: Reader<MemoryOptions> = (value, option) => {
  const options = typeof value === "string" ? optionsOf(value) : value;
  if (isOfKind(options, KINDS)) return options as MemoryOptions;
  throw invalid(option, value, FORMS, Object.keys(KINDS));
};

/**
 * Reads "turns:K", "buffer", "summary", "summary:K" or "sinks:S+W"; throws a `UserError` for any
 * other text.
 */
export function parseMemory(text: string): MemoryOptions {
  if (typeof text !== "string") throw invalid("memory", text, FORMS);
  return memoryReader(text, "memory");
}

function optionsOf(text: string): object | undefined {
  if (text === "buffer") return { kind: text };
  if (text === "summary") return { kind: text, turns: 1 };
  const [, kind, turns] = /^(turns|summary):(\d+)$/.exec(text) ?? [];
  if (kind) return { kind, turns: Number(turns) };
  const [, sinks, window] = /^sinks:(\d+)\+(\d+)$/.exec(text) ?? [];
  return { kind: "sinks", sinks: Number(sinks), window: Number(window) };
}

/**
 * The memory of an option object or of its text. Throws a `UserError` for an unknown kind, invalid
 * numbers, or a summary without a summarizer.
 */
export function conversationMemory(
  choice: MemoryOptions | MemoryText,
  summarizing?: Summarizing,
): ConversationMemory {
  const options = memoryReader(choice, "memory");
  switch (options.kind) {
    case "buffer":
      return recentTurns("buffer", Number.POSITIVE_INFINITY);
    case "sinks":
      return sinksMemory(attentionPolicy(options));
    case "turns":
      return recentTurns(`turns:${options.turns}`, options.turns);
    case "summary": {
      if (summarizing !== undefined) {
        const by = readOptions("a memory that summarises", summarizing, SUMMARIZING_READERS);
        const name = options.turns === 1 ? "summary" : `summary:${options.turns}`;
        return summaryMemory(name, options.turns, by);
      }
      throw new UserError(
        "A memory that summarises needs a summarizer and a tokenizer: give it both, or choose turns:K or buffer.",
      );
    }
  }
}
