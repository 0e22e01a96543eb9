import {
  invalid,
  isRecord,
  number,
  quoteValue,
  type Reader,
  type Readers,
  readOptions,
  whole,
} from "../../option-reader.ts";
import { randomSeed } from "./random.ts";

/**
 * How the next token is chosen. Names, formulas and defaults are llama.cpp's; the defaults that a
 * model's file has (file-sampling.ts) go before these.
 */
export interface SamplingOptions {
  /**
   * Divides the logits: below 1 sharpens, above 1 flattens. 0 is greedy: always the likeliest
   * token. Default 0.8.
   */
  readonly temperature?: number;
  /** Keeps the `topK` likeliest tokens; 0 keeps all. Default 40. */
  readonly topK?: number;
  /** Keeps the likeliest tokens that together reach this probability; 1 keeps all. Default 0.95. */
  readonly topP?: number;
  /** Keeps tokens at least this fraction as likely as the likeliest; 0 keeps all. Default 0.05. */
  readonly minP?: number;
  /**
   * Keeps the tokens of most typical surprise that together exceed this probability; 1 keeps all.
   * Default 1.
   */
  readonly typicalP?: number;
  /**
   * Divides the positive logits of tokens seen lately and multiplies the others; 1 does nothing.
   * Default 1.
   */
  readonly repeatPenalty?: number;
  /** Is subtracted from a token's logit once for each time it was seen lately. Default 0. */
  readonly frequencyPenalty?: number;
  /** Is subtracted from the logit of every token seen lately. Default 0. */
  readonly presencePenalty?: number;
  /**
   * How many of the last tokens, the prompt's included, count as lately; -1 is all, 0 none. Default
   * 64.
   */
  readonly penaltyLastN?: number;
  /**
   * Added to the logits of these tokens before anything else; -Infinity bans a token. A map, pairs,
   * or an object such as `{ 42: -Infinity }`.
   */
  readonly logitBias?: LogitBias;
  /** The same seed and model give the same text. Default: random; `Sampler.seed` has it. */
  readonly seed?: number;
  /** No filter but top-k leaves fewer tokens than this. Default 1. */
  readonly minKeep?: number;
}

/** By token id. */
export type LogitBias =
  | ReadonlyMap<number, number>
  | readonly (readonly [id: number, bias: number])[]
  | Readonly<Record<number, number>>;

const LARGEST_BIAS = 1e9;

const biasReader: Reader<ReadonlyMap<number, number>> = (value, name) => {
  const isList = value instanceof Map || Array.isArray(value);
  if (!isList && !isRecord(value)) {
    throw invalid(name, value, "biases by token id, such as { 42: -Infinity }");
  }
  const pairs: readonly unknown[] = isList
    ? [...value]
    : Object.entries(value).map(([id, bias]) => [/^\d+$/.test(id) ? Number(id) : id, bias]);
  return new Map(pairs.map((pair) => readBias(pair, name)));
};

function readBias(pair: unknown, name: string): readonly [number, number] {
  if (!Array.isArray(pair) || pair.length !== 2) throw invalid(name, pair, "pairs of id and bias");
  const [id, bias] = pair as readonly unknown[];
  whole(0)(id, `token id of ${name}`);
  const isBias = Number.isFinite(bias) && Math.abs(bias as number) <= LARGEST_BIAS;
  if (isBias || bias === Number.NEGATIVE_INFINITY) return [id as number, bias as number];
  const allowed = `a number from -${LARGEST_BIAS} to ${LARGEST_BIAS}, or -Infinity to ban the token`;
  throw invalid(`${name} of token ${quoteValue(id)}`, bias ?? null, allowed);
}

export const SAMPLING_READERS = {
  temperature: number(0),
  topK: whole(0),
  topP: number(0, 1),
  minP: number(0, 1),
  typicalP: number(0, 1),
  // Wider than needed, narrow enough that no logit overflows.
  repeatPenalty: number(0.001, 1000),
  frequencyPenalty: number(-1000, 1000),
  presencePenalty: number(-1000, 1000),
  penaltyLastN: whole(-1),
  logitBias: biasReader,
  seed: whole(0, Number.MAX_SAFE_INTEGER),
  minKeep: whole(1),
} satisfies Readers<SamplingOptions>;

const DEFAULTS = {
  temperature: 0.8,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  typicalP: 1,
  repeatPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  penaltyLastN: 64,
  minKeep: 1,
};

/** Options with all defaults, and biases as a map. */
export type Sampling = Required<Omit<SamplingOptions, "logitBias">> & {
  readonly logitBias: ReadonlyMap<number, number>;
};

/**
 * Fills in the defaults. Throws a `UserError` that names the option, its value and what is allowed.
 */
export function resolveSampling(options: SamplingOptions, vocabularySize: number): Sampling {
  const read = readOptions("a sampler", options, SAMPLING_READERS);
  const { logitBias = new Map<number, number>() } = read;
  for (const id of logitBias.keys()) whole(0, vocabularySize - 1)(id, "token id of logitBias");
  return { ...DEFAULTS, ...read, logitBias, seed: read.seed ?? randomSeed() };
}

/** How many of the likeliest tokens to list with a choice. */
export function checkTopLogprobs(count: number): number {
  return whole(0)(count, "logprobs");
}
