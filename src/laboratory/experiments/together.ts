// What do texts gain if they decode at the same time, and is each the same as alone?

import type { PrefixCache } from "../../context/cache/prefix-cache.ts";
import type { Engine } from "../../engine/engine.ts";
import type { OpenedModel } from "../../engine/model/opened-model.ts";
import { checkFits } from "../../engine/tasks/checks.ts";
import { UserError } from "../../errors.ts";
import { median } from "../../numbers.ts";
import type { Watch } from "../watch.ts";

/** A text to be continued by its likeliest tokens. */
export interface Ask {
  readonly prompt: readonly number[];
  /** How many tokens to generate. */
  readonly tokens: number;
  /** Holds the prompt if it has been computed before. */
  readonly prefixCache?: PrefixCache;
}

/** Tokens of a text, and when each came to its reader. */
export interface Reading {
  readonly ids: readonly number[];
  /** As `performance.now()`. */
  readonly times: readonly number[];
}

/** A text that is another than the same request gives alone. */
export interface Difference {
  /** Which of the requests. */
  readonly text: number;
  /** The first token that differs. */
  readonly at: number;
  /** Between the two best logits there. */
  readonly gap: number;
}

/** Two logits closer than this may change places if their sums are taken in another order. */
export const NEAR_TIE = 1e-4;

const GREEDY = { temperature: 0, ignoreEos: true } as const;

/** Continues a text and reads its tokens as they come. A raised signal ends it early. */
export async function read(
  engine: Engine,
  { prompt, tokens, prefixCache }: Ask,
  signal?: AbortSignal,
): Promise<Reading> {
  const options = { ...GREEDY, maxTokens: tokens, prefixCache, signal };
  const generation = engine.generate(prompt, options);
  const times: number[] = [];
  for await (const _ of generation) times.push(performance.now());
  const { tokens: ids } = await generation.result;
  return { ids, times: times.slice(0, ids.length) }; // text that is held back comes after the last
}

/** The texts that differ from what the same requests gave alone. */
export async function differences(
  engine: Engine,
  asks: readonly Ask[],
  found: readonly Reading[],
  alone: readonly Reading[],
): Promise<Difference[]> {
  const all: Difference[] = [];
  for (const [text, { ids }] of found.entries()) {
    const expected = alone[text]!.ids;
    const at = expected.findIndex((id, i) => id !== ids[i]);
    if (at >= 0) all.push({ text, at, gap: await gapAt(engine, asks[text]!, at) });
  }
  return all;
}

/** How far apart the two best logits are where a text has its token `at`. */
async function gapAt(engine: Engine, { prompt }: Ask, at: number): Promise<number> {
  const options = { ...GREEDY, maxTokens: at + 1, logprobs: 2 };
  const { logprobs } = await engine.complete(prompt, options);
  const [first, second] = logprobs[at]!.top!;
  return first!.logprob - second!.logprob;
}

/** Several texts that decode at the same time. */
export interface TogetherSpeed {
  readonly texts: number;
  /** Of all texts together, the median of the rounds. */
  readonly tokensPerSecond: number;
  /** To one text in the same round: the median of the rounds. */
  readonly ratio: number;
  /** Tokens a second of each round. */
  readonly samples: readonly number[];
  /** Of all rounds. */
  readonly differences: readonly Difference[];
}

export interface TogetherSetting {
  /** Numbers of texts. */
  readonly texts: readonly number[];
  /** Position of the first token that is timed. */
  readonly at: number;
  /** Tokens of each text that are timed. */
  readonly tokens: number;
  readonly rounds: number;
}

/** The numbers of texts that are timed: those asked for, and one, to compare the others with. */
function countsOf(texts: readonly number[]): number[] {
  return [...new Set([1, ...texts])].sort((a, b) => a - b);
}

/** Tokens of a text of an experiment, at most. */
function lengthOf({ at, tokens }: TogetherSetting): number {
  return at + tokens + 1;
}

/** What the engine has to be loaded with, so that no text waits for another. */
export function roomFor(setting: TogetherSetting, pageSize: number) {
  return roomOf(Math.max(...setting.texts), lengthOf(setting), pageSize);
}

/** Room for some texts at the same time, which may be as long as `tokens`. */
export function roomOf(texts: number, tokens: number, pageSize: number) {
  return { sequences: texts, cacheTokens: texts * Math.ceil(tokens / pageSize) * pageSize };
}

/** Throws a `UserError` if the texts do not fit the context. */
export function checkTogether(model: OpenedModel, setting: TogetherSetting): void {
  checkFits(model, model.setting.policy, lengthOf(setting));
}

/**
 * Times texts that decode at the same time, by their number. Rounds are interleaved: each times
 * every number once. Throws a `UserError` if the texts do not decode at the same time, as when a
 * window forgets their prompts.
 */
export async function togetherSpeeds(
  engine: Engine,
  setting: TogetherSetting,
  { onProgress, signal }: Watch = {},
): Promise<TogetherSpeed[]> {
  const { rounds } = setting;
  const counts = countsOf(setting.texts);
  const total = rounds * counts.length;
  onProgress?.(0, total);
  const asks = await computePrompts(engine, setting, counts.at(-1)!);
  const alone: Reading[] = [];
  for (const ask of asks) alone.push(await read(engine, ask, signal));
  const samples = counts.map((): number[] => []);
  const differing = counts.map((): Difference[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, count] of counts.entries()) {
      const some = asks.slice(0, count);
      const found = await Promise.all(some.map((ask) => read(engine, ask, signal)));
      if (signal?.aborted) break;
      samples[i]!.push(rateOf(found));
      differing[i]!.push(...(await differences(engine, some, found, alone)));
      onProgress?.(round * counts.length + i + 1, total);
    }
  }
  for (const { prefixCache } of asks) prefixCache?.clear();
  return counts.flatMap((texts, i) => {
    if (samples[i]!.length === 0) return []; // it was stopped before
    const ratios = samples[i]!.map((sample, round) => sample / samples[0]![round]!);
    return {
      texts,
      tokensPerSecond: median(samples[i]!),
      ratio: median(ratios),
      samples: samples[i]!,
      differences: differing[i]!,
    };
  });
}

/** Prompts that differ, each in a cache of its own: all texts can begin at the same time. */
async function computePrompts(
  engine: Engine,
  { at, tokens }: TogetherSetting,
  count: number,
): Promise<Ask[]> {
  const { vocabulary: V } = engine.config;
  const asks: Ask[] = [];
  for (let text = 0; text < count; text++) {
    const prompt = Array.from({ length: at }, (_, i) => (1 + text + (i + text) * 7919) % V);
    const ask = { prompt, tokens: tokens + 1, prefixCache: engine.prefixCache() };
    await read(engine, { ...ask, tokens: 1 });
    asks.push(ask);
  }
  return asks;
}

/**
 * Tokens a second while all texts decode: from the last of their first tokens to the first of their
 * last.
 */
function rateOf(found: readonly Reading[]): number {
  const began = Math.max(...found.map(({ times }) => times[0]!));
  const ended = Math.min(...found.map(({ times }) => times.at(-1)!));
  const inside = found.flatMap(({ times }) => times).filter((t) => t > began && t <= ended);
  if (ended > began) return (inside.length * 1000) / (ended - began);
  throw new UserError(
    `${found.length} texts do not decode at the same time: time more tokens, or texts at an earlier position.`,
  );
}
