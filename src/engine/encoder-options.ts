// What an encoder makes of the options of loading: it has less to choose.

import { FULL_ATTENTION } from "../context/positions/attention-policy.ts";
import { OptionError, UserError } from "../errors.ts";
import type { KvType } from "../kernels/attention/kv-types.ts";
import { quoteValue } from "../option-reader.ts";
import type { ModelConfig } from "./model/config.ts";

/** The most tokens of a step. */
const MOST_TOKENS = 4096;

/** Texts that run at the same time: those of an encoder have one step each, and share it. */
const SEQUENCES = 64;

/** The options that an encoder reads: see `EngineOptions`. */
interface EncoderOptions {
  readonly context?: number | undefined;
  readonly chunk?: number | undefined;
  readonly kv?: KvType | undefined;
  readonly sequences?: number | undefined;
  readonly prefixes?: boolean | undefined;
}

/** Options that say how a text is cut, or what is forgotten of it. */
const DECODERS = ["attention", "whenFull", "chunk", "keys"] as const;

/**
 * The options of an encoder, which computes a text as a whole, in one step: so it has room for a text
 * of the whole context in a step, and what is not kept need not be small.
 */
export function encoderOptions<O extends EncoderOptions>(
  { name, positions, trainedContext }: ModelConfig,
  options: O,
): O {
  for (const option of DECODERS) {
    const value = (options as Record<string, unknown>)[option];
    if (value === undefined || value === FULL_ATTENTION) continue;
    const what = `${name} is an encoder, which computes each text as a whole: leave it out.`;
    const named = (value as { readonly name?: unknown }).name ?? value; // an attention policy
    throw new OptionError(option, `${quoteValue(named)}: ${what}`);
  }
  const { context = Math.min(trainedContext, MOST_TOKENS), kv = "f32" } = options;
  const { sequences = SEQUENCES } = options;
  const most = positions ? Math.min(trainedContext, MOST_TOKENS) : MOST_TOKENS;
  if (context > most) {
    throw new UserError(`A context of ${context} is more than ${name} can have: at most ${most}.`);
  }
  return { ...options, context, chunk: context, kv, sequences, prefixes: false };
}
