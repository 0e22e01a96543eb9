// How much of a conversation a model may be shown.

import type { AttentionChoice } from "../../context/positions/attention-policy.ts";
import { answerReserve } from "../../context/text/answer-reserve.ts";
import type { ConversationMemory, MemoryBudget } from "../../context/text/memory/memory.ts";
import type { Message } from "../../context/text/message.ts";
import { UserError } from "../../errors.ts";
import type { OpenedModel } from "../model/opened-model.ts";
import { policyOf } from "../tasks/checks.ts";
import { chatPrompt } from "./chat-prompt.ts";
import type { ChatTemplate } from "./chat-template.ts";
import { messageCounter } from "./message-counter.ts";

export interface BudgetOptions {
  readonly template: ChatTemplate;
  readonly memory?: ConversationMemory | undefined;
  readonly attention?: AttentionChoice | undefined;
  readonly maxTokens?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Tokens that the model sees, less those that open its answer, and less the answer. */
export function chatBudget(model: OpenedModel, options: BudgetOptions): MemoryBudget {
  const { template, memory, maxTokens, signal } = options;
  const { sinks, window } = policyOf(model, attentionOf(options));
  const seen = Math.min(model.setting.context, sinks + window);
  const count = messageCounter(model.tokenizer, template);
  if (memory && memory.attention.kind !== "full") return { tokens: seen, count, signal };
  const mustEnd = window === Number.POSITIVE_INFINITY && !model.setting.stopsWhenFull;
  const reserve = answerReserve(seen, maxTokens, mustEnd);
  const question: Message[] = [{ role: "user", content: "" }];
  const { ids } = chatPrompt(model.tokenizer, template, question, { addGenerationPrompt: true });
  const tokens = seen - reserve - (ids.length - count(question));
  if (tokens >= 1) return { tokens, count, signal };
  throw new UserError(
    `An answer of ${reserve} tokens leaves no room for a question in the ${seen} that the model sees: ask for fewer.`,
  );
}

/** The user's own, or that of a memory that leaves forgetting to the cache. */
export function attentionOf({
  attention,
  memory,
}: Pick<BudgetOptions, "attention" | "memory">): AttentionChoice | undefined {
  return attention ?? (memory?.attention.kind === "full" ? undefined : memory?.attention);
}
