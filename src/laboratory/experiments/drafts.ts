// What do drafts gain? A text is generated with and without them by turns, and must be the same.

import type { Engine } from "../../engine/engine.ts";
import type { GenerateOptions } from "../../engine/generation/generation-request.ts";
import { median } from "../../numbers.ts";
import type { Watch } from "../watch.ts";

export interface DraftSetting {
  readonly prompt: string | readonly number[];
  /** The most tokens to generate: the text may end earlier. */
  readonly tokens: number;
  readonly rounds: number;
  readonly draft: NonNullable<GenerateOptions["draft"]>;
}

/** Tokens a second behind the prompt: the median of the rounds, and each. */
export interface DraftSpeed {
  readonly tokensPerSecond: number;
  readonly samples: readonly number[];
}

export interface DraftReport {
  /** Tokens of the text behind the prompt. */
  readonly tokens: number;
  readonly without: DraftSpeed;
  readonly with: DraftSpeed;
  /** Of the second to the first in the same round: the median of the rounds. */
  readonly ratio: number;
  /** Of one round: all are the same. */
  readonly draftTokens: number;
  readonly acceptedTokens: number;
}

/**
 * Times the likeliest continuation of a prompt without drafts and with them, by turns. Throws an
 * `Error` if the two are not the same tokens. Undefined if it is stopped before the first round.
 */
export async function compareDrafts(
  engine: Engine,
  { draft, rounds, ...setting }: DraftSetting,
  { onProgress, signal }: Watch = {},
): Promise<DraftReport | undefined> {
  const without: number[] = [];
  const drafted: number[] = [];
  let report: Pick<DraftReport, "tokens" | "draftTokens" | "acceptedTokens"> | undefined;
  onProgress?.(0, rounds);
  // Round 0 is not counted: it may have to compile.
  for (let round = 0; round <= rounds; round++) {
    const plain = await timed(engine, setting, undefined, signal);
    const guessed = await timed(engine, setting, draft, signal);
    if (signal?.aborted) break;
    expectSame(guessed.tokens, plain.tokens);
    const { draftTokens, acceptedTokens } = guessed.usage;
    report = { tokens: plain.tokens.length, draftTokens, acceptedTokens };
    if (round === 0) continue;
    without.push(plain.tokensPerSecond);
    drafted.push(guessed.tokensPerSecond);
    onProgress?.(round, rounds);
  }
  if (!report || without.length === 0) return undefined;
  return {
    ...report,
    without: { tokensPerSecond: median(without), samples: without },
    with: { tokensPerSecond: median(drafted), samples: drafted },
    ratio: median(drafted.map((speed, i) => speed / without[i]!)),
  };
}

async function timed(
  engine: Engine,
  { prompt, tokens: maxTokens }: Pick<DraftSetting, "prompt" | "tokens">,
  draft: GenerateOptions["draft"],
  signal: AbortSignal | undefined,
) {
  const result = await engine.complete(prompt, { temperature: 0, maxTokens, draft, signal });
  const { tokens, usage, decodeMs } = result;
  // The first token comes out of the prompt.
  return { tokens, usage, tokensPerSecond: (1000 * (tokens.length - 1)) / decodeMs };
}

function expectSame(found: readonly number[], expected: readonly number[]): void {
  const at = expected.findIndex((id, i) => id !== found[i]);
  if (at < 0 && found.length === expected.length) return;
  const where = at < 0 ? expected.length : at;
  throw new Error(`a text with drafts differs at token ${where}: the times mean nothing`);
}
