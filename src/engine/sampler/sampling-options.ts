import { UserError } from "../../errors.ts";
import { randomSeed } from "./random.ts";

/** How the next token is chosen. Names, formulas and defaults are llama.cpp's. */
export interface SamplingOptions {
  /** Divides the logits: below 1 sharpens, above 1 flattens. 0 is greedy: always the likeliest token. Default 0.8. */
  readonly temperature?: number;
  /** Keeps the `topK` likeliest tokens; 0 keeps all. Default 40. */
  readonly topK?: number;
  /** Keeps the likeliest tokens that together reach this probability; 1 keeps all. Default 0.95. */
  readonly topP?: number;
  /** Keeps tokens at least this fraction as likely as the likeliest; 0 keeps all. Default 0.05. */
  readonly minP?: number;
  /** Keeps the tokens of most typical surprise that together exceed this probability; 1 keeps all. Default 1. */
  readonly typicalP?: number;
  /** Divides the positive logits of tokens seen lately and multiplies the others; 1 does nothing. Default 1. */
  readonly repeatPenalty?: number;
  /** Is subtracted from a token's logit once for each time it was seen lately. Default 0. */
  readonly frequencyPenalty?: number;
  /** Is subtracted from the logit of every token seen lately. Default 0. */
  readonly presencePenalty?: number;
  /** How many of the last tokens, the prompt's included, count as lately; -1 is all, 0 none. Default 64. */
  readonly penaltyLastN?: number;
  /** Added to the logits of these tokens before anything else; -Infinity bans a token. */
  readonly logitBias?: ReadonlyMap<number, number>;
  /** The same seed and model give the same text. Default: random, to be read from `Sampler.seed`. */
  readonly seed?: number;
  /** No filter but top-k leaves fewer tokens than this. Default 1. */
  readonly minKeep?: number;
}

interface Limits {
  readonly from: number;
  readonly to: number;
  readonly integer?: true;
}

interface Range extends Limits {
  readonly fallback: number | (() => number);
}

type NumberOption = Exclude<keyof SamplingOptions, "logitBias">;

const LARGEST_BIAS = 1e9;
const INFINITY = Number.POSITIVE_INFINITY;

const RANGES: Record<NumberOption, Range> = {
  temperature: { from: 0, to: INFINITY, fallback: 0.8 },
  topK: { from: 0, to: INFINITY, fallback: 40, integer: true },
  topP: { from: 0, to: 1, fallback: 0.95 },
  minP: { from: 0, to: 1, fallback: 0.05 },
  typicalP: { from: 0, to: 1, fallback: 1 },
  // Wider than anyone needs, narrow enough that no logit overflows.
  repeatPenalty: { from: 0.001, to: 1000, fallback: 1 },
  frequencyPenalty: { from: -1000, to: 1000, fallback: 0 },
  presencePenalty: { from: -1000, to: 1000, fallback: 0 },
  penaltyLastN: { from: -1, to: INFINITY, fallback: 64, integer: true },
  seed: { from: 0, to: Number.MAX_SAFE_INTEGER, fallback: randomSeed, integer: true },
  minKeep: { from: 1, to: INFINITY, fallback: 1, integer: true },
};

export type Sampling = Required<SamplingOptions>;

/** Fills in the defaults. Throws a `UserError` that names the option, its value and what is allowed. */
export function resolveSampling(options: SamplingOptions, vocabularySize: number): Sampling {
  const names = Object.keys(RANGES) as NumberOption[];
  const numbers = names.map((name) => [name, resolveNumber(name, options[name])]);
  const logitBias = options.logitBias ?? new Map<number, number>();
  checkBias(logitBias, vocabularySize);
  return { ...(Object.fromEntries(numbers) as Record<NumberOption, number>), logitBias };
}

/** How many of the likeliest tokens are to be listed with a choice. */
export function checkTopLogprobs(count: number): number {
  return checkNumber("topLogprobs", count, { from: 0, to: INFINITY, integer: true });
}

function resolveNumber(name: NumberOption, value: number | undefined): number {
  const range = RANGES[name];
  if (value !== undefined) return checkNumber(name, value, range);
  return typeof range.fallback === "function" ? range.fallback() : range.fallback;
}

function checkNumber(name: string, value: number, range: Limits): number {
  const kind = range.integer ? Number.isInteger(value) : Number.isFinite(value);
  if (!kind || value < range.from || value > range.to) {
    throw new UserError(`${name} is ${value}: it must be ${describe(range)}.`);
  }
  return value;
}

function describe({ from, to, integer }: Limits): string {
  const kind = integer ? "an integer" : "a number";
  return to === INFINITY ? `${kind} not below ${from}` : `${kind} from ${from} to ${to}`;
}

function checkBias(logitBias: ReadonlyMap<number, number>, vocabularySize: number): void {
  for (const [id, bias] of logitBias) {
    if (!Number.isInteger(id) || id < 0 || id >= vocabularySize) {
      throw new UserError(
        `logitBias names token ${id}: ids are integers from 0 to ${vocabularySize - 1}.`,
      );
    }
    if (!(Math.abs(bias) <= LARGEST_BIAS) && bias !== -INFINITY) {
      throw new UserError(
        `logitBias of token ${id} is ${bias}: it must be a number from -${LARGEST_BIAS} to ${LARGEST_BIAS}, or -Infinity to ban the token.`,
      );
    }
  }
}
