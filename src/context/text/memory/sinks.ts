// Memory by the cache: the model reads everything, and its attention forgets all but the first and
// the latest tokens (StreamingLLM, arXiv:2309.17453).

import { UserError } from "../../../errors.ts";
import { largestThat } from "../../../numbers.ts";
import { visibleKeys } from "../../positions/attention-cost.ts";
import { type AttentionPolicy, isVisible } from "../../positions/attention-policy.ts";
import type { Message } from "../message.ts";
import { type ConversationMemory, checkRecall, type Fate, type MemoryBudget } from "./memory.ts";

/**
 * Gives everything to a model whose cache forgets. What the last token sees of each message is
 * counted from the positions of its tokens. This is exact if the first messages have the same
 * number of tokens alone as at the start of the conversation.
 */
export function sinksMemory(policy: AttentionPolicy): ConversationMemory {
  const { name, sinks, window } = policy;
  return {
    name,
    attention: { kind: "sinks", sinks, window },
    async recall(conversation, budget) {
      checkRecall(conversation, budget);
      if (sinks + window > budget.tokens) {
        throw new UserError(
          `Memory ${name} sees up to ${sinks + window} tokens and exceeds the budget of ${budget.tokens}: ` +
            "choose S + W within it, or raise it.",
        );
      }
      const total = budget.count(conversation);
      return {
        messages: conversation,
        tokens: visibleKeys(policy, total - 1),
        fates: fatesOf(conversation, policy, total, budget),
      };
    },
  };
}

function fatesOf(
  conversation: readonly Message[],
  policy: AttentionPolicy,
  total: number,
  { count }: MemoryBudget,
): Fate[] {
  const { sinks, window } = policy;
  const N = conversation.length;
  const known = new Map([
    [0, 0],
    [N, total],
  ]);
  /** The position of a message's first token. */
  const start = (index: number) => {
    const position = known.get(index) ?? count(conversation.slice(0, index));
    known.set(index, position);
    return position;
  };
  // Positions from `sinks` to `total - window` are forgotten: within these two messages, and all
  // between them.
  const first = largestThat(0, N - 1, (index) => start(index) <= sinks);
  const last = N - 1 - largestThat(0, N - 1, (after) => start(N - after) >= total - window);
  return conversation.map((_, index) => {
    if (index < first || index > last) return { kind: "kept" };
    if (index > first && index < last) return { kind: "dropped" };
    const tokens = start(index + 1) - start(index);
    let visible = 0;
    for (let key = start(index); key < start(index + 1); key++) {
      if (isVisible(policy, key, total - 1)) visible++;
    }
    if (visible === tokens) return { kind: "kept" };
    return visible === 0 ? { kind: "dropped" } : { kind: "part", visible, tokens };
  });
}
