// Limits of a chat template. It is a program that comes with a model file, and a model file is
// untrusted.

import { UserError } from "../../errors.ts";

/** Characters of a template. The longest that models come with have about 20,000. */
export const LONGEST_SOURCE = 2 ** 17;
/**
 * Expressions and blocks within each other, macros that call macros included: a few hundred frames
 * of the stack.
 */
export const DEEPEST_NESTING = 256;
/** Lists and mappings within each other. */
export const DEEPEST_VALUE = 64;
/** The size of an item of a list or a mapping, counted in characters. */
export const ITEM_SIZE = 8;
/** Characters that an operation reads in the time of a step. */
export const SCANNED_PER_STEP = 32;

/** The part of each limit that does not depend on the conversation. */
const SMALLEST_ROOM = 2 ** 20;
/** A string that is taken apart into its characters takes as much. */
const ROOM_PER_CHARACTER = ITEM_SIZE;

/** The limits that grow with the conversation. */
export interface Limits {
  /** Characters of one value, lists and mappings written out, the result among them. */
  readonly size: number;
  /** Characters of all intermediate values. */
  readonly memory: number;
  /** Characters that are written, again for each block that they are written in. */
  readonly output: number;
  /** Expressions and blocks evaluated, and items looped over. */
  readonly steps: number;
  /** Characters that one operation compares with others. */
  readonly work: number;
}

/** The limits for a conversation of this many characters. */
export function limitsFor(characters: number): Limits {
  const room = SMALLEST_ROOM + ROOM_PER_CHARACTER * characters;
  return { size: room, memory: 8 * room, output: 8 * room, steps: room, work: 4 * room };
}

export type Limit = keyof Limits | "nesting" | "source";

/** A template exceeds a limit: it may not end, or not fit in memory. `limit` names the limit. */
export class TemplateLimitError extends UserError {
  override readonly name = "TemplateLimitError";
  readonly limit: Limit;

  constructor(limit: Limit, what: string) {
    super(
      `The chat template was stopped by the limit of ${limit}: ${what}. It is damaged or hostile; name another, such as "chatml".`,
    );
    this.limit = limit;
  }
}
