// What a terminal remembers of a conversation: what has been said, how it is remembered, what it has taken.

import {
  conversationMemory,
  type MemoryOptions,
} from "../../context/text/memory/conversation-memory.ts";
import type { ConversationMemory } from "../../context/text/memory/memory.ts";
import type { Message } from "../../context/text/message.ts";
import type { ChatOptions, ChatResult } from "../../engine/chat/chat.ts";
import { type BudgetOptions, chatBudget } from "../../engine/chat/chat-budget.ts";
import type { Engine } from "../../engine/engine.ts";
import { engineSummarizer } from "../../engine/tasks/summarizer.ts";
import type { TokenUsage } from "../../engine/tasks/token-usage.ts";
import { duration, note, rate } from "../terminal.ts";
import { freeInWords, promptInWords } from "../usage-report.ts";

/** Tokens of all turns so far. */
export interface Totals extends Omit<TokenUsage, "freeTokens"> {
  readonly turns: number;
}

const NO_TURNS: Totals = { turns: 0, promptTokens: 0, cachedTokens: 0, generatedTokens: 0 };

export class ChatSession {
  readonly engine: Engine;
  readonly #given: ChatOptions & BudgetOptions;
  #memory: ConversationMemory;
  /** What the model is told before any conversation. */
  readonly #system: readonly Message[];
  /** What the conversation began with. */
  #opening: readonly Message[] = [];
  #messages: readonly Message[] = [];
  #answering: AbortController | undefined;
  #last: ChatResult | undefined;
  #totals = NO_TURNS;

  constructor(
    engine: Engine,
    options: ChatOptions & BudgetOptions,
    memory: MemoryOptions,
    system: readonly Message[],
  ) {
    this.#system = system;
    this.engine = engine;
    this.#given = options;
    this.#memory = this.#remembering(memory);
  }

  get messages(): readonly Message[] {
    return this.#messages;
  }

  get memory(): ConversationMemory {
    return this.#memory;
  }

  /** Of the next answer. */
  get options(): ChatOptions & BudgetOptions {
    return { ...this.#given, memory: this.#memory };
  }

  /** Of the last answer. */
  get last(): ChatResult | undefined {
    return this.#last;
  }

  get totals(): Totals {
    return this.#totals;
  }

  /** Begins with these messages, and again with these after `reset`; the session's own system message goes before theirs. */
  begin(messages: readonly Message[]): void {
    const first = messages.findIndex(({ role }) => role !== "system");
    const said = first < 0 ? messages.length : first;
    this.#opening =
      this.#system.length === 0 ? messages : [...this.#system, ...messages.slice(said)];
    this.reset();
  }

  reset(): void {
    this.#messages = this.#opening;
    this.#last = undefined;
    this.#totals = NO_TURNS;
  }

  /** Throws a `UserError`, and goes on as before, where the engine has no room for such a memory. */
  remember(options: MemoryOptions): void {
    const memory = this.#remembering(options);
    chatBudget(this.engine, { ...this.options, memory });
    this.#memory = memory;
  }

  /** Ends the answer in work; false where there is none. */
  interrupt(): boolean {
    if (!this.#answering || this.#answering.signal.aborted) return false;
    this.#answering.abort();
    return true;
  }

  /** Says something to the model, and what it answers, piece by piece, to `out`. What fails has not been said. */
  async say(content: string, out: (text: string) => Promise<void>): Promise<void> {
    const asked: Message[] = [...this.#messages, { role: "user", content }];
    this.#answering = new AbortController();
    const { signal } = this.#answering;
    try {
      const answer = this.engine.chat(asked, { ...this.options, signal });
      for (;;) {
        const { done, value } = await answer.next();
        if (done) {
          this.#heard(asked, value);
          await out("\n");
          break;
        }
        await out(value.text);
      }
    } finally {
      this.#answering = undefined;
    }
    note(timingLine(this.#last!));
  }

  #heard(asked: readonly Message[], result: ChatResult): void {
    const isUnheard = result.finishReason === "aborted" && result.text === "";
    if (!isUnheard) this.#messages = [...asked, result.message];
    this.#last = result;
    const { promptTokens, cachedTokens, generatedTokens } = result.usage;
    this.#totals = {
      turns: this.#totals.turns + 1,
      promptTokens: this.#totals.promptTokens + promptTokens,
      cachedTokens: this.#totals.cachedTokens + cachedTokens,
      generatedTokens: this.#totals.generatedTokens + generatedTokens,
    };
  }

  #remembering(memory: MemoryOptions): ConversationMemory {
    const { engine } = this;
    const summarize = engineSummarizer(engine);
    return conversationMemory(memory, { summarize, tokenizer: engine.tokenizer });
  }
}

function timingLine({ usage, prefillMs, decodeMs, finishReason }: ChatResult): string {
  const decoded = Math.max(0, usage.generatedTokens - 1);
  return [
    `[${promptInWords(usage)} in ${duration(prefillMs)}`,
    `${usage.generatedTokens} tokens, ${rate(decoded, decodeMs).toFixed(1)} tok/s`,
    ...freeInWords(usage),
    `${finishReason}]`,
  ].join(" | ");
}
