// What is saved of a sequence: its tokens, which pages it holds, and what made them. Its file is in
// session-file.ts.

import { UserError } from "../../errors.ts";
import type { KvType } from "../../kernels/attention/kv-types.ts";
import { quoteValue } from "../../option-reader.ts";
import { type AttentionPolicy, withSlidingWindow } from "../positions/attention-policy.ts";
import type { Message } from "../text/message.ts";
import type { CacheGroup } from "./cache-pages.ts";
import type { KeyStorage } from "./rotations.ts";

/** What made the pages of a session; pages of any other make are not read. */
export interface MadeBy {
  /** SHA-256, in hexadecimal, of the weights and the rotation. */
  readonly fingerprint: string;
  /** The model's name, for messages. */
  readonly model: string;
  /** What the queries of the sequence see. */
  readonly policy: AttentionPolicy;
  readonly keys: KeyStorage;
  readonly kv: KvType;
  /** P: tokens a page. */
  readonly pageSize: number;
  /** Bytes of one page of one layer, keys and values together. */
  readonly pageBytes: number;
  readonly groups: readonly Pick<CacheGroup, "layers" | "window">[];
}

/** The conversation that a session is about. */
export interface SavedChat {
  readonly messages: readonly Message[];
  /** Its text up to the last answer, as the chat template rendered it. */
  readonly spoken?: { readonly rendered: readonly string[]; readonly guard: string } | undefined;
}

/** A sequence that is saved: all but the bytes of its pages. */
export interface SavedSession {
  readonly madeBy: MadeBy;
  /** The tokens; whether the model has them is checked by the caller. */
  readonly ids: Uint32Array;
  /** This many of the tokens have keys and values in the pages, or had them before eviction. */
  readonly length: number;
  /** For each group, the text positions that its pages begin with, ascending. */
  readonly pages: readonly (readonly number[])[];
  readonly chat?: SavedChat | undefined;
}

/**
 * Throws a `UserError` unless the pages are those of the tokens: of each group, and all that the
 * next token sees.
 */
export function checkPages({ madeBy, ids, length, pages }: SavedSession): void {
  const { policy, pageSize: P, groups } = madeBy;
  if (length > ids.length) {
    throw new UserError(`it has pages of ${length} tokens, but ${ids.length} tokens only`);
  }
  const layers = groups.flatMap((group) => group.layers);
  if (groups.length === 0 || groups.some((group) => group.layers.length === 0)) {
    throw new UserError("it has no layers, or a group without layers");
  }
  if (new Set(layers).size < layers.length) throw new UserError("it has a layer twice");
  if (pages.length !== groups.length) {
    throw new UserError(`it has pages of ${pages.length} groups of layers, not ${groups.length}`);
  }
  for (const [i, firsts] of pages.entries()) {
    const isPage = (first: number, at: number) =>
      first % P === 0 && first < length && (at === 0 || first > firsts[at - 1]!);
    if (!firsts.every(isPage)) {
      throw new UserError(`pages[${i}] are not ascending multiples of ${P} below ${length}`);
    }
    // A sliding window longer than the context hides nothing of a text within the context, so the
    // context does not matter here.
    const seen = withSlidingWindow(policy, groups[i]!.window, Number.POSITIVE_INFINITY);
    const missing = missingPage(seen, { firsts, length, pageSize: P });
    if (missing !== undefined) {
      throw new UserError(`pages[${i}] lack the page at ${missing}, which the next token sees`);
    }
  }
}

/**
 * The first page that the token at `length` sees and that is not there. It takes as many steps as
 * there are pages, and not tokens: a forged file may have many groups and a long text.
 */
function missingPage(
  { sinks, window }: AttentionPolicy,
  { firsts, length, pageSize: P }: { firsts: readonly number[]; length: number; pageSize: number },
): number | undefined {
  const held = new Set(firsts);
  const windowAt = Math.floor((length - window + 1) / P) * P;
  const seenFrom = (first: number) => (first < sinks ? first : Math.max(first, windowAt));
  for (let first = seenFrom(0); first < length; first = seenFrom(first + P)) {
    if (!held.has(first)) return first;
  }
  return undefined;
}

/** What differs between the engine that made a session and this one. Undefined if nothing does. */
export function differenceOf(made: MadeBy, here: MadeBy): string | undefined {
  return modelDifference(made, here) ?? cacheDifference(made, here);
}

function modelDifference(made: MadeBy, here: MadeBy): string | undefined {
  const isSame = made.fingerprint === here.fingerprint;
  if (!isSame && made.model !== here.model) {
    return `it was made with the model ${quoteValue(made.model)}, and this is ${quoteValue(here.model)}. Load the model that it was made with.`;
  }
  const { policy } = made;
  if (policy.sinks !== here.policy.sinks || policy.window !== here.policy.window) {
    return `it was made with the attention policy ${policyText(policy)}, and here it is ${policyText(here.policy)}. Use the policy that it was made with.`;
  }
  if (isSame) return undefined;
  return `it was made with other weights of the model ${quoteValue(made.model)}, or with another RoPE scaling. Load the same file with the same scaling.`;
}

function policyText({ name, sinks, window }: AttentionPolicy): string {
  const tokens = window === Number.POSITIVE_INFINITY ? "all tokens" : `a window of ${window}`;
  return `${quoteValue(name)} (${sinks} sinks, ${tokens})`;
}

function cacheDifference(made: MadeBy, here: MadeBy): string | undefined {
  for (const option of ["kv", "pageSize", "keys"] as const) {
    if (made[option] !== here[option]) {
      return `it was made with ${option} ${made[option]}, and this engine has ${option} ${here[option]}. Load the model with ${option} ${made[option]}.`;
    }
  }
  if (made.pageBytes !== here.pageBytes) {
    return `its pages have ${made.pageBytes} bytes, and those of this engine have ${here.pageBytes}. Save it again.`;
  }
  const groupsText = ({ groups }: MadeBy) =>
    groups.map(({ layers, window }) => `${layers.join()}:${window}`).join(" ");
  if (groupsText(made) === groupsText(here)) return undefined;
  return "its layers are grouped by other windows than those of this engine. Save it again.";
}
