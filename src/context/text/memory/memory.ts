// Chooses what a model reads of a conversation that exceeds its budget.
// In this room: a strategy a file. Not in it: how messages are counted (engine/chat).

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
   * Tokens of any list of messages, also an empty one, as rendered by the template, but without the
   * text that opens an answer: subtract this, and the answer, from `tokens`.
   */
  count(messages: readonly Message[]): number;
  /** Aborts a summary in work: `recall` throws its reason. */
  readonly signal?: AbortSignal | undefined;
}

export const BUDGET_READERS = {
  tokens: needed(whole(1)),
  count: needed(callback),
  signal: abortSignal,
} satisfies Readers<MemoryBudget>;

/** What happened to a message. */
export type Fate =
  /**
   * Kept: the model reads and sees all of it. Summarised: the model reads a summary in its place.
   * Dropped: nothing.
   */
  | { readonly kind: "kept" | "summarised" | "dropped" }
  /** The model read all of its tokens, and still sees this many of them when it answers. */
  | { readonly kind: "part"; readonly visible: number; readonly tokens: number };

export interface Recollection {
  /** What the model reads, in the order of the conversation. */
  readonly messages: readonly Message[];
  /**
   * Tokens that the model sees when it answers: those of `messages`, or fewer if the cache forgets
   * some.
   */
  readonly tokens: number;
  /** The summary of turns that are left out; it is part of the opening system message. */
  readonly summary?: string | undefined;
  /** The fate of each message of the conversation. */
  readonly fates: readonly Fate[];
}

/**
 * Chooses what a model reads. A turn is a user's message and the answers up to the next one;
 * answers before the first user's message are a turn of their own. Every strategy keeps these
 * rules, except sinks, which leave forgetting to the cache:
 *
 *  - never more than the budget;
 *  - all system messages, and the last turn, whole, or a `MessageTooLongError`;
 *  - of the other turns the most recent ones, each whole or not at all;
 *  - the order of the conversation.
 */
export interface ConversationMemory {
  /** As on the command line: "turns:3", "buffer", "summary", "summary:3", "sinks:4+252". */
  readonly name: string;
  /** The attention policy that the engine must be loaded with. */
  readonly attention: AttentionOptions;
  /**
   * A pure function of its arguments. Throws a `UserError` if the budget or the conversation is
   * invalid.
   */
  recall(conversation: readonly Message[], budget: MemoryBudget): Promise<Recollection>;
}

/** A message that must be kept does not fit the budget. */
export class MessageTooLongError extends UserError {
  override readonly name = "MessageTooLongError";
  /** The index of the message in the conversation. */
  readonly index: number;
  readonly role: Role;
  /** Tokens of the message alone. */
  readonly tokens: number;
  /** The smallest sufficient budget: all system messages and the last turn. */
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

/** Throws a `UserError` for an invalid budget or conversation. */
export function checkRecall(conversation: readonly Message[], budget: MemoryBudget): void {
  readOptions("a memory's budget", budget, BUDGET_READERS);
  messagesReader(conversation, "conversation");
  if (conversation.length === 0) throw new UserError("There are no messages to recall.");
}
