// Reports about the tokens of a text.

import type { TokenUsage } from "../../engine/generation/token-usage.ts";
import { note } from "../terminal/terminal.ts";

/** For JSON, which has no Infinity. */
export function usageJson(usage: TokenUsage) {
  const { freeTokens } = usage;
  return { ...usage, freeTokens: freeTokens === Number.POSITIVE_INFINITY ? "any" : freeTokens };
}

/** "prompt 40 tokens (32 cached)" */
export function promptInWords({ promptTokens, cachedTokens }: TokenUsage): string {
  return `prompt ${promptTokens} tokens${cachedTokens === 0 ? "" : ` (${cachedTokens} cached)`}`;
}

/** "101 free"; nothing under attention that forgets, if there is always room. */
export function freeInWords({ freeTokens }: TokenUsage): string[] {
  return freeTokens === Number.POSITIVE_INFINITY ? [] : [`${freeTokens} free`];
}

/** "31 of 40 drafted right"; nothing if none were. */
export function draftsInWords({ draftTokens, acceptedTokens }: TokenUsage): string[] {
  return draftTokens === 0 ? [] : [`${acceptedTokens} of ${draftTokens} drafted right`];
}

/** Warns that a context is almost full. */
export function warnOfFill({ promptTokens, generatedTokens, freeTokens }: TokenUsage): void {
  const used = promptTokens + generatedTokens;
  note(
    `warning: ${used} of the context's ${used + freeTokens} tokens are used: ${freeTokens} are left. ` +
      "A larger --context, or --attention sinks:S+W, has room for more.",
  );
}
