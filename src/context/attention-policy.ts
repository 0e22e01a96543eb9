// What a query sees. One pure rule, exact to the token, whatever the page size and however the prompt was chunked:
//
//     key j is visible from query t  iff  j <= t  and  (j < sinks  or  t - j < window)
//
// Full attention is a window without end; a sliding-window model has no sinks; StreamingLLM has four.

import { UserError } from "../errors.ts";

/**
 * Anybody may write one: `{ name: "keep the prompt", sinks: promptTokens, window: 256 }` keeps a system prompt, whatever
 * its length, and the last 256 tokens.
 */
export interface AttentionPolicy {
  /** For people. The built-in ones are named as on the command line: "full", "window:1024", "sinks:4+1020". */
  readonly name: string;
  /** S: so many tokens at the start of the text stay visible for ever. */
  readonly sinks: number;
  /** W: a query sees so many of the latest tokens, itself included. Infinity: all. */
  readonly window: number;
}

export type AttentionOptions =
  | { readonly kind: "full" }
  | { readonly kind: "window"; readonly window: number }
  | { readonly kind: "sinks"; readonly sinks: number; readonly window: number };

export const FULL_ATTENTION: AttentionPolicy = {
  name: "full",
  sinks: 0,
  window: Number.POSITIVE_INFINITY,
};

const FORMS = "full, window:W or sinks:S+W with whole numbers W >= 1 and S >= 0";

/** The policy of an option object, or a policy checked. Throws a `UserError` for numbers that make no sense. */
export function attentionPolicy(options: AttentionOptions | AttentionPolicy): AttentionPolicy {
  if (!("kind" in options)) {
    const { name, sinks, window } = options;
    if (isCount(sinks, 0) && (window === Number.POSITIVE_INFINITY || isCount(window, 1)))
      return options;
    throw new UserError(
      `Invalid attention policy "${name}": expected sinks >= 0 and window >= 1, found ${sinks} and ${window}.`,
    );
  }
  if (options.kind === "full") return FULL_ATTENTION;
  const sinks = options.kind === "sinks" ? options.sinks : 0;
  const { window } = options;
  const name = options.kind === "sinks" ? `sinks:${sinks}+${window}` : `window:${window}`;
  if (!isCount(sinks, 0) || !isCount(window, 1)) {
    throw new UserError(`Invalid attention ${name}: expected ${FORMS}.`);
  }
  return { name, sinks, window };
}

/** Reads "full", "window:W" or "sinks:S+W". */
export function parseAttention(text: string): AttentionOptions {
  if (text === "full") return { kind: "full" };
  const [, window] = /^window:(\d+)$/.exec(text) ?? [];
  if (window) return { kind: "window", window: Number(window) };
  const [, sinks, rest] = /^sinks:(\d+)\+(\d+)$/.exec(text) ?? [];
  if (sinks && rest) return { kind: "sinks", sinks: Number(sinks), window: Number(rest) };
  throw new UserError(`Invalid attention "${text}": expected ${FORMS}.`);
}

/**
 * The policy of a model that was trained with a sliding window, under the user's: neither may see more than it allows,
 * but the user's sinks stay visible. Under full attention a text ends with the context: a longer window hides nothing of it,
 * and must not let it go on.
 */
export function withSlidingWindow(
  policy: AttentionPolicy,
  slidingWindow: number | undefined,
  context: number,
): AttentionPolicy {
  if (slidingWindow === undefined || slidingWindow >= policy.window) return policy;
  if (policy.window === Number.POSITIVE_INFINITY && slidingWindow > context) return policy;
  return { name: policy.name, sinks: policy.sinks, window: slidingWindow };
}

/** The rule. */
export function isVisible({ sinks, window }: AttentionPolicy, key: number, query: number): boolean {
  return key <= query && (key < sinks || query - key < window);
}

/** Whether no query at `oldest` or later can see any of the positions up to `last`, all at or after `first`. */
export function isForgotten(
  { sinks, window }: AttentionPolicy,
  first: number,
  last: number,
  oldest: number,
): boolean {
  return first >= sinks && oldest - last >= window;
}

/**
 * The position at which the query at `position` meets the sinks: its place in a cache of sinks and window, as
 * StreamingLLM assigns it (arXiv:2309.17453, section 3.2). Before the first eviction it is the text position.
 */
export function sinkPosition({ sinks, window }: AttentionPolicy, position: number): number {
  return Math.min(position, sinks + window - 1);
}

/** The most pages that a sequence holds while it takes `chunk` tokens at a time, up to `context` tokens in all. */
export function pagesNeeded(
  { sinks, window }: AttentionPolicy,
  context: number,
  chunk: number,
  pageSize: number,
): number {
  const whole = Math.ceil(context / pageSize);
  if (window === Number.POSITIVE_INFINITY) return whole;
  return Math.ceil(sinks / pageSize) + Math.ceil((window - 1 + chunk) / pageSize) + 1;
}

function isCount(n: number, least: number): boolean {
  return Number.isSafeInteger(n) && n >= least;
}
