// What a model is shown of a conversation that is longer than what it may read.

import { UserError } from "../../../errors.ts";
import {
  abortSignal,
  callback,
  needed,
  type Readers,
  readOptions,
  whole,
} from "../../../option-reader.ts";
import type { AttentionOptions } from "../../positions/attention-policy.ts";
import { type Message, messagesReader, type Role } from "../message.ts";

export interface MemoryBudget {
  /** At least 1. */
  readonly tokens: number;
  /**
   * Tokens of any messages, none among them, as the model will read them, template included. What a template puts after
   * the last message, for the answer to follow, is left out: take it, and the answer, off `tokens`.
   */
  count(messages: readonly Message[]): number;
  /** Ends a summary in work: `recall` throws its reason. */
  readonly signal?: AbortSignal | undefined;
}

export const BUDGET_READERS = {
  tokens: needed(whole(1)),
  count: needed(callback),
  signal: abortSignal,
} satisfies Readers<MemoryBudget>;

/** What became of a message. */
export type Fate =
  /** Kept: the model reads and sees all of it. Summarised: the model reads a summary in its place. Dropped: nothing. */
  | { readonly kind: "kept" | "summarised" | "dropped" }
  /** The model read all of its tokens, and still sees this many of them when it answers. */
  | { readonly kind: "part"; readonly visible: number; readonly tokens: number };

export interface Recollection {
  /** What the model reads, in the order of the conversation. */
  readonly messages: readonly Message[];
  /** Tokens that the model sees when it answers: those of `messages`, but where the cache forgets some. */
  readonly tokens: number;
  /** Of the turns that it replaces; it stands in the opening system message. */
  readonly summary?: string | undefined;
  /** Of each message of the conversation. */
  readonly fates: readonly Fate[];
}

/**
 * Chooses what a model is shown. A turn is a user's message and the answers up to the next one; answers before the first
 * user's message are a turn of their own. What every strategy keeps, but sinks, which let the cache forget:
 *
 *  - never more than the budget;
 *  - all system messages, and the last turn, whole, or a `MessageTooLongError`;
 *  - of the other turns the most recent ones, each whole or not at all;
 *  - the order of the conversation.
 */
export interface ConversationMemory {
  /** As on the command line: "turns:3", "buffer", "summary", "summary:3", "sinks:4+252". */
  readonly name: string;
  /** What the engine is to be loaded with. */
  readonly attention: AttentionOptions;
  /** A pure function of its arguments. Throws a `UserError` if the budget or the conversation makes no sense. */
  recall(conversation: readonly Message[], budget: MemoryBudget): Promise<Recollection>;
}

/** A message that has to be kept does not fit the budget. */
export class MessageTooLongError extends UserError {
  override readonly name = "MessageTooLongError";
  /** Of the message in the conversation, from 0. */
  readonly index: number;
  readonly role: Role;
  /** Of the message by itself. */
  readonly tokens: number;
  /** The smallest budget that would do: all system messages and the last turn. */
  readonly needed: number;
  readonly budget: number;

  constructor(index: number, role: Role, tokens: number, needed: number, budget: number) {
    super(
      `Message ${index + 1} (${role}, ${tokens} tokens) must be kept and exceeds the budget of ${budget} tokens: ` +
        `system messages and the last turn take ${needed}; shorten the message, leave it that much room ` +
        "(a larger context, a shorter answer), or let the cache forget (sinks:S+W).",
    );
    this.index = index;
    this.role = role;
    this.tokens = tokens;
    this.needed = needed;
    this.budget = budget;
  }
}

/** Throws a `UserError` for a budget or a conversation that makes no sense. */
export function checkRecall(conversation: readonly Message[], budget: MemoryBudget): void {
  readOptions("a memory's budget", budget, BUDGET_READERS);
  messagesReader(conversation, "conversation");
  if (conversation.length === 0) throw new UserError("There are no messages to recall.");
}
