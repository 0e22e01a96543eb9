// What do requests of many lengths gain that are served at the same time, and how long does each
// wait?

import type { Engine } from "../../engine/engine.ts";
import type { OpenedModel } from "../../engine/model/opened-model.ts";
import { Random } from "../../engine/sampler/random.ts";
import { checkFits } from "../../engine/tasks/checks.ts";
import { quantile } from "../../numbers.ts";
import type { Watch } from "../watch.ts";
import { type Ask, type Difference, differences, type Reading, read } from "./together.ts";

/** Numbers of tokens, both ends included. */
export interface Range {
  readonly least: number;
  readonly most: number;
}

/** Requests with random lengths. */
export interface Mixture {
  readonly requests: number;
  /** Tokens of a prompt. */
  readonly prompts: Range;
  /** Tokens of an answer. */
  readonly answers: Range;
  readonly seed: number;
}

/** Milliseconds: half of all are at most the median, 95 % at most `most`. */
export interface Wait {
  readonly median: number;
  readonly most: number;
}

/** How a mixture was served. */
export interface Serving {
  /** From the first request to the last token. */
  readonly ms: number;
  /** Of all answers. */
  readonly tokensPerSecond: number;
  /** From the time of all requests to the first token of each. */
  readonly first: Wait;
  /** From one token of an answer to the next. */
  readonly between: Wait;
}

export interface ServingReport {
  /** Tokens of all prompts, and of all answers. */
  readonly promptTokens: number;
  readonly answerTokens: number;
  readonly together: Serving;
  readonly oneByOne: Serving;
  /** How much sooner all are through together. */
  readonly ratio: number;
  readonly differences: readonly Difference[];
}

/** Tokens of the longest prompt with the longest answer. */
export function longestOf({ prompts, answers }: Mixture): number {
  return prompts.most + answers.most;
}

/** Throws a `UserError` if a request of a mixture may not fit the context. */
export function checkMixture(model: OpenedModel, mixture: Mixture): void {
  checkFits(model, model.setting.policy, longestOf(mixture));
}

/** The requests of a mixture: the same for the same seed. */
export function asksOf({ requests, prompts, answers, seed }: Mixture, vocabulary: number): Ask[] {
  const random = new Random(seed);
  const below = (n: number) => Math.floor(random.uniform() * n);
  const within = ({ least, most }: Range) => least + below(most - least + 1);
  return Array.from({ length: requests }, () => {
    const [length, tokens] = [within(prompts), within(answers)];
    return { prompt: Array.from({ length }, () => below(vocabulary)), tokens };
  });
}

/**
 * Serves a mixture twice: one request after the other, and all at the same time. Undefined if it is
 * stopped.
 */
export async function compareServing(
  engine: Engine,
  mixture: Mixture,
  { onProgress, signal }: Watch = {},
): Promise<ServingReport | undefined> {
  const asks = asksOf(mixture, engine.config.vocabulary);
  const total = 2 * asks.length;
  let done = 0;
  onProgress?.(done, total);
  const serve = async (ask: Ask) => {
    const reading = await read(engine, ask, signal);
    onProgress?.(++done, total);
    return reading;
  };
  const first = asks.slice(0, 2).map((ask) => read(engine, { ...ask, tokens: 8 }, signal));
  await Promise.all(first); // what is done once only is not timed
  let began = performance.now();
  const alone: Reading[] = [];
  for (const ask of asks) alone.push(await serve(ask));
  const oneByOne = servingOf(alone, began);
  began = performance.now();
  const found = await Promise.all(asks.map(serve));
  if (signal?.aborted) return undefined;
  const together = servingOf(found, began);
  return {
    promptTokens: sum(asks.map(({ prompt }) => prompt.length)),
    answerTokens: sum(asks.map(({ tokens }) => tokens)),
    together,
    oneByOne,
    ratio: oneByOne.ms / together.ms,
    differences: await differences(engine, asks, found, alone),
  };
}

function servingOf(readings: readonly Reading[], began: number): Serving {
  const times = readings.flatMap((reading) => reading.times);
  const ms = times.reduce((a, b) => Math.max(a, b), began) - began;
  return {
    ms,
    tokensPerSecond: (times.length * 1000) / ms,
    first: waitOf(readings.map((reading) => reading.times[0]! - began)),
    between: waitOf(
      readings.flatMap((reading) => reading.times.slice(1).map((t, i) => t - reading.times[i]!)),
    ),
  };
}

function waitOf(ms: readonly number[]): Wait {
  return { median: quantile(ms, 0.5), most: quantile(ms, 0.95) };
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
