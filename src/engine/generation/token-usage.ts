// How much of the context a text takes, and how much is left.

import type { AttentionPolicy } from "../../context/positions/attention-policy.ts";
import { UserError } from "../../errors.ts";
import type { OpenedModel } from "../model/opened-model.ts";

/** Tokens of drafts: see `GenerateOptions.draft`. */
export interface DraftUsage {
  /** Tokens that were drafted and verified: 0 without drafts. */
  readonly draftTokens: number;
  /** Those of them that were right, also beyond the end of a text that was stopped. */
  readonly acceptedTokens: number;
}

/** Tokens of a text. */
export interface TokenUsage extends DraftUsage {
  readonly promptTokens: number;
  /** Tokens of the prompt that were in the cache already and were not computed again. */
  readonly cachedTokens: number;
  readonly generatedTokens: number;
  /** Tokens that the context still has room for; Infinity under attention that forgets. */
  readonly freeTokens: number;
}

/** Prompt and answer do not fit the context. */
export class ContextOverflowError extends UserError {
  override readonly name = "ContextOverflowError";
  readonly promptTokens: number;
  readonly maxTokens: number;
  readonly context: number;

  constructor(promptTokens: number, maxTokens: number, context: number) {
    super(
      `A prompt of ${promptTokens} tokens and ${maxTokens} to generate exceed the context of ${context}: ` +
        `shorten the prompt, generate fewer, load with a context of ${promptTokens + maxTokens}, ` +
        "or with attention that forgets (window:W or sinks:S+W).",
    );
    this.promptTokens = promptTokens;
    this.maxTokens = maxTokens;
    this.context = context;
  }
}

export const DEFAULT_MAX_TOKENS = 256;
const DEFAULT_FILL_LEVEL = 0.9;

/**
 * How many tokens may be generated; throws a `ContextOverflowError` before any work if they do not
 * fit.
 */
export function tokenBudget(
  { setting }: OpenedModel,
  { window }: AttentionPolicy,
  promptTokens: number,
  maxTokens: number | undefined,
): number {
  const { context, stopsWhenFull } = setting;
  const room = roomOf(context, window, promptTokens);
  const budget = maxTokens ?? Math.max(1, Math.min(DEFAULT_MAX_TOKENS, room));
  if (budget <= room) return budget;
  if (stopsWhenFull && room >= 1) return room;
  throw new ContextOverflowError(promptTokens, budget, context);
}

/** The usage of a text of `tokens` tokens, prompt and answer together. */
export function tokenUsage(
  { setting }: OpenedModel,
  { window }: AttentionPolicy,
  promptTokens: number,
  cachedTokens: number,
  tokens: number,
): Omit<TokenUsage, keyof DraftUsage> {
  return {
    promptTokens,
    cachedTokens,
    generatedTokens: tokens - promptTokens,
    freeTokens: roomOf(setting.context, window, tokens),
  };
}

function roomOf(context: number, window: number, tokens: number): number {
  return window === Number.POSITIVE_INFINITY ? context - tokens : Number.POSITIVE_INFINITY;
}

export interface FillOptions {
  readonly onFill?: ((usage: TokenUsage) => void) | undefined;
  readonly fillLevel?: number | undefined;
}

/** Reports once that a text fills a share of its context. */
export class FillWatch {
  readonly #level: number;
  #onFill: FillOptions["onFill"];

  constructor({ onFill, fillLevel = DEFAULT_FILL_LEVEL }: FillOptions) {
    this.#onFill = onFill;
    this.#level = fillLevel;
  }

  tell(usage: () => TokenUsage): void {
    if (!this.#onFill) return;
    const now = usage();
    const used = now.promptTokens + now.generatedTokens;
    if (used < this.#level * (used + now.freeTokens)) return;
    this.#onFill(now);
    this.#onFill = undefined;
  }
}
