// The strategies by name: "turns:3", "buffer", "summary", "summary:3", "sinks:4+252".

import { UserError } from "../../../errors.ts";
import { attentionPolicy } from "../../attention-policy.ts";
import type { ConversationMemory } from "./memory.ts";
import { recentTurns } from "./recent-turns.ts";
import { sinksMemory } from "./sinks.ts";
import { type Summarizing, summaryMemory } from "./summary.ts";

export type MemoryOptions =
  /** So many of the most recent turns, or fewer where the budget is short. */
  | { readonly kind: "turns"; readonly turns: number }
  /** As many of the most recent turns as the budget holds. */
  | { readonly kind: "buffer" }
  /** So many of the most recent turns, and a summary of the turns before. "summary" is one turn. */
  | { readonly kind: "summary"; readonly turns: number }
  /** Everything; the cache keeps the first `sinks` and the last `window` tokens. */
  | { readonly kind: "sinks"; readonly sinks: number; readonly window: number };

const FORMS =
  "turns:K, buffer, summary, summary:K or sinks:S+W with whole numbers K >= 1, S >= 0 and W >= 1";

/** Reads "turns:K", "buffer", "summary", "summary:K" or "sinks:S+W". */
export function parseMemory(text: string): MemoryOptions {
  if (text === "buffer") return { kind: "buffer" };
  if (text === "summary") return { kind: "summary", turns: 1 };
  const [, kind, turns] = /^(turns|summary):(\d+)$/.exec(text) ?? [];
  if (isCount(Number(turns), 1)) {
    return { kind: kind as "turns" | "summary", turns: Number(turns) };
  }
  const [, sinks, window] = /^sinks:(\d+)\+(\d+)$/.exec(text) ?? [];
  if (isCount(Number(sinks), 0) && isCount(Number(window), 1)) {
    return { kind: "sinks", sinks: Number(sinks), window: Number(window) };
  }
  throw new UserError(`Invalid memory "${text}": expected ${FORMS}.`);
}

/** The memory of an option object. Throws a `UserError` for numbers that make no sense, or a summary without a summarizer. */
export function conversationMemory(
  options: MemoryOptions,
  summarizing?: Summarizing,
): ConversationMemory {
  switch (options.kind) {
    case "buffer":
      return recentTurns("buffer", Number.POSITIVE_INFINITY);
    case "sinks":
      return sinksMemory(attentionPolicy(options));
    case "turns":
      checkTurns(options);
      return recentTurns(`turns:${options.turns}`, options.turns);
    case "summary": {
      checkTurns(options);
      if (summarizing) {
        const name = options.turns === 1 ? "summary" : `summary:${options.turns}`;
        return summaryMemory(name, options.turns, summarizing);
      }
      throw new UserError(
        "A memory that summarises needs a summarizer and a tokenizer: give it both, or choose turns:K or buffer.",
      );
    }
  }
}

function checkTurns({ kind, turns }: { readonly kind: string; readonly turns: number }): void {
  if (isCount(turns, 1)) return;
  throw new UserError(`Invalid memory "${kind}:${turns}": expected ${FORMS}.`);
}

function isCount(n: number, least: number): boolean {
  return Number.isSafeInteger(n) && n >= least;
}
