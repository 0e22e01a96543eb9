// The state of a conversation on a terminal: its messages, its memory, its usage.

import {
  conversationMemory,
  type MemoryOptions,
} from "../../context/text/memory/conversation-memory.ts";
import type { ConversationMemory } from "../../context/text/memory/memory.ts";
import type { Message } from "../../context/text/message.ts";
import type { ChatOptions, ChatResult } from "../../engine/chat/chat.ts";
import { attentionOf, type BudgetOptions, chatBudget } from "../../engine/chat/chat-budget.ts";
import type { ChatTemplate } from "../../engine/chat/chat-template.ts";
import type { Engine } from "../../engine/engine.ts";
import { prepareGeneration } from "../../engine/generation/generation-request.ts";
import type { TokenUsage } from "../../engine/generation/token-usage.ts";
import { engineSummarizer } from "../../engine/tasks/summarizer.ts";
import { draftsInWords, freeInWords, promptInWords } from "../reports/usage-report.ts";
import { duration, note, rate } from "../terminal/terminal.ts";
import type { AnswerOptions, Settings } from "./settings.ts";

/** Tokens of all turns so far. */
export interface Totals extends Omit<TokenUsage, "freeTokens"> {
  readonly turns: number;
}

const NO_TURNS: Totals = {
  turns: 0,
  promptTokens: 0,
  cachedTokens: 0,
  generatedTokens: 0,
  draftTokens: 0,
  acceptedTokens: 0,
};

interface SessionOptions {
  readonly template: ChatTemplate;
  readonly memory: MemoryOptions;
  readonly answer: AnswerOptions;
  /** The options of answers that can be changed, by name. */
  readonly settings: Settings;
  /** The default system message. */
  readonly system?: string | undefined;
}

export class ChatSession {
  readonly engine: Engine;
  readonly settings: Settings;
  readonly #template: ChatTemplate;
  #memory: ConversationMemory;
  #answer: AnswerOptions;
  #system: readonly Message[];
  /** The messages that the conversation began with. */
  #opening: readonly Message[] = [];
  #messages: readonly Message[] = [];
  #answering: AbortController | undefined;
  #last: ChatResult | undefined;
  #totals = NO_TURNS;

  constructor(engine: Engine, options: SessionOptions) {
    const { template, memory, answer, settings, system } = options;
    this.engine = engine;
    this.settings = settings;
    this.#template = template;
    this.#answer = answer;
    this.#system = systemOf(system);
    this.#memory = this.#remembering(memory);
  }

  get messages(): readonly Message[] {
    return this.#messages;
  }

  get memory(): ConversationMemory {
    return this.#memory;
  }

  /** Options of the next answer. */
  get options(): ChatOptions & BudgetOptions {
    return { ...this.#answer, template: this.#template, memory: this.#memory };
  }

  get answer(): AnswerOptions {
    return this.#answer;
  }

  /** The system message; undefined if there is none. */
  get system(): string | undefined {
    const said = this.#messages.slice(0, systemMessages(this.#messages));
    return said.length === 0 ? undefined : said.map(({ content }) => content).join("\n");
  }

  /** The result of the last answer. */
  get last(): ChatResult | undefined {
    return this.#last;
  }

  get totals(): Totals {
    return this.#totals;
  }

  /**
   * Begins with these messages, and again with these after `reset`; the session's own system
   * message goes before theirs.
   */
  begin(messages: readonly Message[]): void {
    this.#opening = this.#system.length === 0 ? messages : this.#told(messages);
    this.reset();
  }

  /** Replaces the system message from now on; undefined removes it. */
  tell(system: string | undefined): void {
    this.#system = systemOf(system);
    this.#opening = this.#told(this.#opening);
    this.#messages = this.#told(this.#messages);
  }

  #told(messages: readonly Message[]): readonly Message[] {
    return [...this.#system, ...messages.slice(systemMessages(messages))];
  }

  reset(): void {
    this.#messages = this.#opening;
    this.#last = undefined;
    this.#totals = NO_TURNS;
  }

  /** Throws a `UserError`, and changes nothing, if the engine has no room for such a memory. */
  remember(options: MemoryOptions): void {
    const memory = this.#remembering(options);
    chatBudget(this.engine, { ...this.options, memory });
    this.#memory = memory;
  }

  /**
   * Sets the options of answers. Throws a `UserError`, and changes nothing, if the engine refuses
   * them.
   */
  choose(answer: AnswerOptions): void {
    const options = { ...this.options, ...answer };
    prepareGeneration(this.engine, [0], { attention: attentionOf(options), ...answer });
    chatBudget(this.engine, options);
    this.#answer = answer;
  }

  /** Ends the answer in work; false if there is none. */
  interrupt(): boolean {
    if (!this.#answering || this.#answering.signal.aborted) return false;
    this.#answering.abort();
    return true;
  }

  /**
   * Sends a message to the model and writes its answer, piece by piece, to `out`. If it fails, the
   * message is not kept.
   */
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
    const [all, { usage }] = [this.#totals, result];
    this.#totals = {
      turns: all.turns + 1,
      promptTokens: all.promptTokens + usage.promptTokens,
      cachedTokens: all.cachedTokens + usage.cachedTokens,
      generatedTokens: all.generatedTokens + usage.generatedTokens,
      draftTokens: all.draftTokens + usage.draftTokens,
      acceptedTokens: all.acceptedTokens + usage.acceptedTokens,
    };
  }

  #remembering(memory: MemoryOptions): ConversationMemory {
    const { engine } = this;
    const summarize = engineSummarizer(engine);
    return conversationMemory(memory, { summarize, tokenizer: engine.tokenizer });
  }
}

function systemOf(text: string | undefined): readonly Message[] {
  return text === undefined ? [] : [{ role: "system", content: text }];
}

/** How many messages of the system's a conversation begins with. */
function systemMessages(messages: readonly Message[]): number {
  const said = messages.findIndex(({ role }) => role !== "system");
  return said < 0 ? messages.length : said;
}

function timingLine({ usage, prefillMs, decodeMs, finishReason }: ChatResult): string {
  const decoded = Math.max(0, usage.generatedTokens - 1);
  return [
    `[${promptInWords(usage)} in ${duration(prefillMs)}`,
    `${usage.generatedTokens} tokens, ${rate(decoded, decodeMs).toFixed(1)} tok/s`,
    ...draftsInWords(usage),
    ...freeInWords(usage),
    `${finishReason}]`,
  ].join(" | ");
}
