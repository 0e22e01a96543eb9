// Which keys a query sees. One pure rule, exact to the token, independent of page size and chunks:
//
//     key j is visible from query t  iff  j <= t  and  (j < sinks  or  t - j < window)
//
// Full attention is a window without end; a sliding-window model has no sinks; StreamingLLM has
// four.
//
// In this room: what depends on positions alone: policies, RoPE scaling, what they cost. Not in it:
// pages (cache/), and rotations as buffers (cache/rotations.ts).

import { invalid, isOfKind, isRecord, isWhole, type Reader } from "../../option-reader.ts";

/**
 * Callers may write their own: `{ name: "keep the prompt", sinks: promptTokens, window: 256 }`
 * keeps a system prompt of any length and the last 256 tokens.
 */
export interface AttentionPolicy {
  /**
   * For messages. The built-in ones are named as on the command line: "full", "window:1024",
   * "sinks:4+1020".
   */
  readonly name: string;
  /** S: this many tokens at the start of the text always stay visible. */
  readonly sinks: number;
  /** W: a query sees this many of the latest tokens, its own included. Infinity: all. */
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

/** A policy as text, as on the command line: "full", "window:1024", "sinks:4+1020". */
export type AttentionText = "full" | `window:${number}` | `sinks:${number}+${number}`;

/** All the forms in which a policy may be given. */
export type AttentionChoice = AttentionOptions | AttentionPolicy | AttentionText;

const FORMS = "full, window:W or sinks:S+W with whole numbers W >= 1 and S >= 0";

const KINDS = {
  full: {},
  window: { window: (window: unknown) => isWhole(window, 1) },
  sinks: {
    sinks: (sinks: unknown) => isWhole(sinks, 0),
    window: (window: unknown) => isWhole(window, 1),
  },
};

/** A policy from a text, from an object of one of the kinds, or from a policy of the user's own. */
export const attentionReader: Reader<AttentionPolicy> = (value, option) => {
  if (typeof value === "string") return policyOfKind(readText(value, option));
  if (isRecord(value) && "kind" in value) {
    if (isOfKind(value, KINDS)) return policyOfKind(value as unknown as AttentionOptions);
  } else if (isPolicy(value)) {
    return value;
  }
  throw invalid(
    option,
    value,
    `${FORMS}, or an object { name, sinks, window }`,
    Object.keys(KINDS),
  );
};

/** The policy of any of its forms. Throws a `UserError` that quotes an invalid form. */
export function attentionPolicy(choice: AttentionChoice): AttentionPolicy {
  return attentionReader(choice, "attention");
}

/** Reads "full", "window:W" or "sinks:S+W"; throws a `UserError` for any other text. */
export function parseAttention(text: string): AttentionOptions {
  return readText(text, "attention");
}

function readText(text: unknown, option: string): AttentionOptions {
  if (text === "full") return { kind: "full" };
  const [, kind, sinks, window] = /^(window|sinks):(?:(\d+)\+)?(\d+)$/.exec(String(text)) ?? [];
  const options =
    kind === "sinks"
      ? { kind, sinks: Number(sinks), window: Number(window) }
      : { kind, window: Number(window) };
  const isForm = (kind === "sinks") === (sinks !== undefined);
  if (typeof text === "string" && isForm && isOfKind(options, KINDS)) {
    return options as AttentionOptions;
  }
  throw invalid(option, text, FORMS, Object.keys(KINDS));
}

function policyOfKind(options: AttentionOptions): AttentionPolicy {
  if (options.kind === "full") return FULL_ATTENTION;
  const { window } = options;
  if (options.kind === "window") return { name: `window:${window}`, sinks: 0, window };
  return { name: `sinks:${options.sinks}+${window}`, sinks: options.sinks, window };
}

function isPolicy(value: unknown): value is AttentionPolicy {
  if (!isRecord(value) || Object.keys(value).some((key) => !(key in FULL_ATTENTION))) return false;
  const { name, sinks, window } = value;
  const isWindow = window === Number.POSITIVE_INFINITY || isWhole(window, 1);
  return typeof name === "string" && isWhole(sinks, 0) && isWindow;
}

/**
 * The policy of a model that was trained with a sliding window, under the user's: neither may see
 * more than it allows, but the user's sinks stay visible. A sliding window longer than the context
 * hides nothing, so full attention stays: the text must still end with the context.
 */
export function withSlidingWindow(
  policy: AttentionPolicy,
  slidingWindow: number,
  context: number,
): AttentionPolicy {
  if (slidingWindow >= policy.window) return policy;
  if (policy.window === Number.POSITIVE_INFINITY && slidingWindow > context) return policy;
  return { name: policy.name, sinks: policy.sinks, window: slidingWindow };
}

/** Whether a query sees a key. */
export function isVisible({ sinks, window }: AttentionPolicy, key: number, query: number): boolean {
  return key <= query && (key < sinks || query - key < window);
}

/**
 * Whether no query at `oldest` or later can see any of the positions up to `last`, all at or after
 * `first`.
 */
export function isForgotten(
  { sinks, window }: AttentionPolicy,
  first: number,
  last: number,
  oldest: number,
): boolean {
  return first >= sinks && oldest - last >= window;
}

/**
 * The position that the query at `position` is rotated by for the sinks: its place in a cache of
 * sinks and window, as StreamingLLM assigns it (arXiv:2309.17453, section 3.2). Before the first
 * eviction it is the text position.
 */
export function sinkPosition({ sinks, window }: AttentionPolicy, position: number): number {
  return Math.min(position, sinks + window - 1);
}

/**
 * The most pages that a sequence holds while it takes `chunk` tokens at a time, up to `context`
 * tokens in all.
 */
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
