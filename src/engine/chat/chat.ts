// Messages in, an answer out: chooses which messages the model reads, renders them with its
// template, and reuses what the cache holds.
// In this room: from messages to a prompt. Not in it: how it is generated from (generation/), and a
// conversation on a terminal (cli/chat).

import type { PrefixCache } from "../../context/cache/prefix-cache.ts";
import type { Sequence } from "../../context/cache/sequence.ts";
import {
  conversationMemory,
  type MemoryOptions,
  type MemoryText,
  memoryReader,
} from "../../context/text/memory/conversation-memory.ts";
import {
  type ConversationMemory,
  MessageTooLongError,
  type Recollection,
} from "../../context/text/memory/memory.ts";
import { type Message, messagesReader } from "../../context/text/message.ts";
import { Generation } from "../../context/text/running-text.ts";
import { UserError } from "../../errors.ts";
import {
  hasMethods,
  invalid,
  type OptionsOf,
  type Reader,
  type Readers,
  readOptions,
} from "../../option-reader.ts";
import { generate } from "../generation/generation.ts";
import { GENERATE_READERS, type GenerateOptions } from "../generation/generation-request.ts";
import type { GenerationResult, Piece } from "../generation/generation-result.ts";
import type { OpenedModel } from "../model/opened-model.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import { policyOf } from "../tasks/checks.ts";
import { engineSummarizer } from "../tasks/summarizer.ts";
import { attentionOf, type BudgetOptions, chatBudget } from "./chat-budget.ts";
import { chatPrompt, type Spoken } from "./chat-prompt.ts";
import { ChatTemplate } from "./chat-template.ts";
import { chatTemplateOf } from "./chosen-template.ts";

/** One answer, which is kept for the next turn. */
export interface ChatOptions
  extends Omit<GenerateOptions, "parseSpecial" | "answers" | "beams" | "lengthPenalty"> {
  /**
   * How messages are written for the model: a template, its name ("chatml"), or its source in
   * Jinja. Default: the file's own, or "plain" if it has none.
   */
  readonly template?: ChatTemplate | string | undefined;
  /**
   * Which part of a long conversation the model reads. As text: "buffer", "turns:3"; a memory that
   * summarises uses the model itself. Default: all of it, or a `ContextOverflowError`.
   */
  readonly memory?: ConversationMemory | MemoryOptions | MemoryText | undefined;
}

const {
  parseSpecial: _p,
  answers: _a,
  beams: _b,
  lengthPenalty: _l,
  ...generateReaders
} = GENERATE_READERS;

export const CHAT_READERS = {
  ...generateReaders,
  template: ((value, name) => {
    if (value instanceof ChatTemplate || typeof value === "string") return value;
    throw invalid(name, value, 'a ChatTemplate, a name such as "chatml", or a source in Jinja');
  }) as Reader<ChatTemplate | string>,
  memory: ((value, name) =>
    hasMethods(value, "recall")
      ? (value as ConversationMemory)
      : memoryReader(value, name)) as Reader<ConversationMemory | MemoryOptions>,
} satisfies Readers<ChatOptions>;

/** Memories made from options, kept so that the next turn finds what has been summarised. */
const memoriesOf = new WeakMap<LoadedModel, Map<string, ConversationMemory>>();

function memoryOf(
  engine: LoadedModel,
  memory: ConversationMemory | MemoryOptions | undefined,
): ConversationMemory | undefined {
  if (memory === undefined || !("kind" in memory)) return memory;
  const known = memoriesOf.get(engine) ?? new Map<string, ConversationMemory>();
  memoriesOf.set(engine, known);
  const key = JSON.stringify(memory);
  const { tokenizer } = engine;
  const summarize = () =>
    engineSummarizer({ ...engine, generate: (...asked) => generate(engine, ...asked) });
  const made = known.get(key) ?? conversationMemory(memory, { summarize: summarize(), tokenizer });
  known.set(key, made);
  return made;
}

export interface ChatResult extends GenerationResult {
  /** The model's answer. */
  readonly message: Message;
  /** The part of the conversation that it read, if there is a memory. */
  readonly recollection: Recollection | undefined;
}

/** A conversation up to an answer, with the tokens as generated. */
interface Conversation {
  readonly messages: readonly Message[];
  readonly spoken: Spoken;
}

/** The conversation in a prefix cache. */
const conversationOf = new WeakMap<PrefixCache, Conversation>();

/** The text of a conversation, if it is the one that a prefix cache keeps. */
export function keptConversation(
  kept: PrefixCache,
  messages: readonly Message[],
): Spoken | undefined {
  const found = conversationOf.get(kept);
  const isSame = (message: Message, i: number) =>
    message.role === messages[i]?.role && message.content === messages[i].content;
  const isKept = found?.messages.length === messages.length && found.messages.every(isSame);
  return isKept ? found.spoken : undefined;
}

/** Has a prefix cache keep a conversation that was saved. */
export function keepConversation(
  kept: PrefixCache,
  sequence: Sequence,
  conversation: Conversation,
): void {
  kept.give(sequence, conversation.spoken.ids);
  conversationOf.set(kept, conversation);
}

/** See `Engine.chat`. Wrong options and messages are refused at once. */
export function chat(
  engine: LoadedModel,
  conversation: readonly Message[],
  options: ChatOptions,
): Generation<Piece, ChatResult> {
  const read = readOptions("chat", options, CHAT_READERS);
  const messages = messagesReader(conversation, "conversation");
  const template = templateOf(engine, read.template);
  const memory = memoryOf(engine, read.memory);
  return new Generation(read.signal, (signal) =>
    answer(engine, messages, { ...read, template, memory, signal }),
  );
}

type ReadChat = Omit<OptionsOf<typeof CHAT_READERS>, "template" | "memory"> & BudgetOptions;

async function* answer(
  engine: LoadedModel,
  conversation: readonly Message[],
  options: ReadChat,
): AsyncGenerator<Piece, ChatResult, void> {
  const { memory, template, ...generating } = options;
  const { prefixCache } = options;
  if (conversation.at(-1)?.role !== "user") {
    throw new UserError("A chat answers the user: the last message must be the user's.");
  }
  const recollection =
    memory && (await recall(engine, memory, conversation, { ...options, template }));
  // If its memory was aborted, nothing is computed: the last message stands for all.
  const messages = recollection?.messages ?? (memory ? conversation.slice(-1) : conversation);
  const written = (spoken?: Spoken) =>
    chatPrompt(engine.tokenizer, template, messages, { addGenerationPrompt: true }, spoken);
  const attention = attentionOf(options);
  let prompt = written(prefixCache && conversationOf.get(prefixCache)?.spoken);
  // With the tokens as generated, a conversation may take more tokens than its text, which memories
  // count.
  const { context } = engine.setting;
  const isBounded = policyOf(engine, attention).window === Number.POSITIVE_INFINITY;
  if (isBounded && prompt.ids.length + (options.maxTokens ?? 1) > context) prompt = written();
  // Decoded as a text of its own: without the space that SentencePiece puts before its first word,
  // as Hugging Face decodes it.
  const result = yield* generate(engine, prompt.ids, { ...generating, attention }, {});
  const message: Message = { role: "assistant", content: result.text };
  if (prefixCache) {
    // A stop string ends a text within its tokens, and a token may end within a character: then the
    // two are not the same.
    const isWhole = result.stopped === undefined && !result.text.endsWith("\ufffd");
    const spoken = prompt.answered(result.text, result.tokens);
    if (isWhole) conversationOf.set(prefixCache, { messages: [...conversation, message], spoken });
    else conversationOf.delete(prefixCache);
  }
  return { ...result, message, recollection };
}

/** The messages that a memory keeps; undefined if it is aborted. */
async function recall(
  engine: LoadedModel,
  memory: ConversationMemory,
  conversation: readonly Message[],
  options: BudgetOptions,
): Promise<Recollection | undefined> {
  try {
    return await memory.recall(conversation, chatBudget(engine, options));
  } catch (error) {
    if (options.signal?.aborted) return undefined;
    if (!(error instanceof MessageTooLongError) || options.maxTokens !== undefined) throw error;
    // A short answer is better than none.
    return memory.recall(conversation, chatBudget(engine, { ...options, maxTokens: 1 }));
  }
}

/** The one chosen, by itself or by its name; else the file's own, or "plain". */
function templateOf({ tokenizer }: OpenedModel, chosen?: ChatTemplate | string): ChatTemplate {
  return chosen instanceof ChatTemplate
    ? chosen
    : chatTemplateOf(tokenizer.vocabulary, chosen).template;
}
