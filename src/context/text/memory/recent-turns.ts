// The most recent turns: at most this many (turns:K), or as many as the budget holds (buffer).

import type { ConversationMemory } from "./memory.ts";
import { isRecent, recent, recentThatFit, turnsWithin } from "./turns.ts";

/**
 * Keeps system messages and the `most` recent turns, or fewer if the budget is too small; drops the
 * others.
 */
export function recentTurns(name: string, most: number): ConversationMemory {
  return {
    name,
    attention: { kind: "full" },
    async recall(conversation, budget) {
      const turns = turnsWithin(conversation, budget);
      const kept = recentThatFit(turns, most, budget.tokens, budget);
      const messages = recent(turns, kept);
      return {
        messages,
        tokens: budget.count(messages),
        fates: conversation.map((_, index) => ({
          kind: isRecent(turns, kept, index) ? "kept" : "dropped",
        })),
      };
    },
  };
}
