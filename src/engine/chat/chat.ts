// Messages in, an answer out: what of the conversation the model reads, how its template writes that, and how much of it
// lies in the cache already.

import type { AttentionOptions, AttentionPolicy } from "../../context/attention-policy.ts";
import type {
  ConversationMemory,
  MemoryBudget,
  Recollection,
} from "../../context/text/memory/memory.ts";
import type { Message } from "../../context/text/message.ts";
import { UserError } from "../../kernels/errors.ts";
import {
  type GenerateOptions,
  type GenerationResult,
  generate,
  type Piece,
} from "../generation.ts";
import type { LoadedModel, OpenedModel } from "../model-state.ts";
import type { PrefixCache } from "../prefix-cache.ts";
import { policyOf } from "../requests.ts";
import { chatPrompt, type Spoken } from "./chat-prompt.ts";
import type { ChatTemplate } from "./chat-template.ts";
import { chatTemplateOf } from "./chosen-template.ts";
import { messageCounter } from "./message-counter.ts";

export interface ChatOptions extends Omit<GenerateOptions, "parseSpecial"> {
  /** How messages are written for the model. Default: the file's own template, or "plain" where it has none. */
  readonly template?: ChatTemplate | undefined;
  /** What of a long conversation the model reads. Default: all of it, or a `ContextOverflowError`. */
  readonly memory?: ConversationMemory | undefined;
}

export interface ChatResult extends GenerationResult {
  /** What the model has said. */
  readonly message: Message;
  /** What it has read of the conversation, where there is a memory. */
  readonly recollection: Recollection | undefined;
}

/** What a prefix cache holds of a conversation, as it was spoken. */
const spokenOf = new WeakMap<PrefixCache, Spoken>();

export async function* chat(
  engine: LoadedModel,
  conversation: readonly Message[],
  options: ChatOptions,
): AsyncGenerator<Piece, ChatResult, void> {
  const { memory, template = ownTemplate(engine), ...generating } = options;
  const { prefixCache } = options;
  if (conversation.at(-1)?.role !== "user") {
    throw new UserError("A chat answers the user: the last message must be the user's.");
  }
  const budget = memory && chatBudget(engine, { ...options, template });
  const recollection = budget && (await memory.recall(conversation, budget));
  const messages = recollection?.messages ?? conversation;
  const written = (spoken?: Spoken) =>
    chatPrompt(engine.tokenizer, template, messages, { addGenerationPrompt: true }, spoken);
  let prompt = written(prefixCache && spokenOf.get(prefixCache));
  // As it was spoken a conversation may take some tokens more than as it is written, which is how memories count.
  const room = engine.setting.context - (options.maxTokens ?? 1);
  if (prompt.ids.length > room) prompt = written();
  const attention = attentionOf(options);
  const result = yield* generate(engine, prompt.ids, { ...generating, attention });
  if (prefixCache) {
    // A stop string ends a text within its tokens, and a token may end within a character: then the two are not the same.
    const isWhole = result.stopped === undefined && !result.text.endsWith("\ufffd");
    if (isWhole) spokenOf.set(prefixCache, prompt.answered(result.text, result.tokens));
    else spokenOf.delete(prefixCache);
  }
  return { ...result, message: { role: "assistant", content: result.text }, recollection };
}

/** Tokens that a memory leaves for the answer, unless the user asks for more or fewer: at most a quarter of what is seen. */
const MOST_RESERVED = 256;

/** What a memory may show of a conversation: what the model can see, less what opens its answer, and the answer. */
export function chatBudget(model: OpenedModel, options: ChatOptions): MemoryBudget {
  const { template = ownTemplate(model), memory, maxTokens } = options;
  const { sinks, window } = policyOf(model, attentionOf(options));
  const seen = Math.min(model.setting.context, sinks + window);
  const count = messageCounter(model.tokenizer, template);
  if (memory && memory.attention.kind !== "full") return { tokens: seen, count };
  const reserve = maxTokens ?? Math.min(MOST_RESERVED, seen >> 2);
  const question: Message[] = [{ role: "user", content: "" }];
  const { ids } = chatPrompt(model.tokenizer, template, question, { addGenerationPrompt: true });
  const tokens = seen - reserve - (ids.length - count(question));
  if (tokens >= 1) return { tokens, count };
  throw new UserError(
    `An answer of ${reserve} tokens leaves no room for a question in the ${seen} that the model sees: ask for fewer.`,
  );
}

/** The user's own, or that of a memory that leaves forgetting to the cache. */
function attentionOf({
  attention,
  memory,
}: ChatOptions): AttentionOptions | AttentionPolicy | undefined {
  return attention ?? (memory?.attention.kind === "full" ? undefined : memory?.attention);
}

function ownTemplate({ tokenizer }: OpenedModel): ChatTemplate {
  return chatTemplateOf(tokenizer.vocabulary).template;
}
