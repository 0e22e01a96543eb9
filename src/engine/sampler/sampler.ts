// Chooses the next token from logits.
// In this room: what samplers and penalties do, as arithmetic on numbers. Not in it: the choice on
// the GPU (kernels/choice), and when it is enough (engine/tasks).

import { UserError } from "../../errors.ts";
import type { Draw } from "../../kernels/choice/choice.ts";
import { type Candidates, minP, temper, topK, topP, typical } from "./candidates.ts";
import { descending, take } from "./descending.ts";
import { gumbel } from "./gumbel.ts";
import { addBias, canRaise, type IndexOf, penalize, penalized } from "./penalties.ts";
import {
  checkTopLogprobs,
  resolveSampling,
  type Sampling,
  type SamplingOptions,
} from "./sampling-options.ts";
import { largest, logSumExp } from "./softmax.ts";

export type { SamplingOptions } from "./sampling-options.ts";
export { logSoftmax } from "./softmax.ts";

export interface TokenLogprob {
  readonly id: number;
  /**
   * The logarithm of the probability that the *model* gave the token: log-softmax of its raw
   * logits, before bias, penalties, filters and temperature. So it does not depend on sampling
   * options, and greedy and sampled texts can be compared.
   */
  readonly logprob: number;
}

export interface TokenChoice extends TokenLogprob {
  /** The model's likeliest tokens, the likeliest first, if requested. */
  readonly top?: readonly TokenLogprob[];
}

/** The likeliest tokens of a vocabulary, the likeliest first, the first of equals first. */
export interface TopLogits {
  /** [n] */
  readonly ids: Uint32Array;
  /** [n], the model's own. */
  readonly logits: Float32Array;
  /** ln(sum of exp(logit)) of the whole vocabulary. */
  readonly logSum: number;
}

/** The most tokens that a sampler asks for, short of all. */
const MAX_TOP = 512;

/** How many of the likeliest tokens are requested if only probability limits the choice. */
const USUAL_TOP = 256;

/** Temperatures at which the sum of logits and noise is exact enough in f32. */
const [COLDEST, HOTTEST] = [0.01, 100];

/**
 * Chooses the next token. The order is llama.cpp's: bias, penalties, top-k, typical, top-p, min-p,
 * temperature, draw. A draw depends on the seed and the token's position in the text, but not on
 * earlier draws.
 */
export class Sampler {
  readonly #options: Sampling;
  /**
   * The whole vocabulary: [V] ids, which never change, and [V] logits, which every step overwrites.
   */
  readonly #all: Candidates;

  constructor(options: SamplingOptions, vocabularySize: number) {
    this.#options = resolveSampling(options, vocabularySize);
    this.#all = {
      ids: Uint32Array.from({ length: vocabularySize }, (_, id) => id),
      logits: new Float64Array(vocabularySize),
    };
  }

  /** The seed in use: the same seed gives the same text. */
  get seed(): number {
    return this.#options.seed;
  }

  /**
   * How the GPU can choose like this sampler; undefined if this takes more than temperature and
   * noise.
   */
  get draw(): Draw | undefined {
    const { temperature, seed, logitBias, topK: k, topP: p, minP: fraction } = this.#options;
    if (logitBias.size > 0 || penalized([0], this.#options) > 0) return undefined;
    if (temperature === 0) return { temperature, seed };
    const filters = k > 0 || p < 1 || fraction > 0 || this.#options.typicalP < 1;
    const tells = temperature >= COLDEST && temperature <= HOTTEST;
    return filters || !tells ? undefined : { temperature, seed };
  }

  /** The temperature and the noise of its draws, as far as the GPU can take them. */
  get noise(): Draw {
    const { temperature, seed } = this.#options;
    if (temperature < COLDEST) return { temperature: 0, seed };
    return { temperature: Math.min(temperature, HOTTEST), seed };
  }

  /**
   * How many of the likeliest tokens `sampleTop` needs after this text; undefined if `sample` needs
   * all.
   */
  wants(history: readonly number[], topLogprobs = 0): number | undefined {
    const { temperature, topK: k, topP: p, minP: fraction, typicalP } = this.#options;
    const { logitBias, minKeep } = this.#options;
    const draws = temperature > 0;
    const changed = logitBias.size + penalized(history, this.#options);
    if (changed > 0 && canRaise(logitBias, this.#options)) return undefined;
    if (draws && typicalP < 1) return undefined;
    // If only probability limits the choice, the sum over all tokens must be known, and some filter
    // must be on.
    if (draws && k === 0 && (changed > 0 || (p === 1 && fraction === 0))) return undefined;
    // At most `changed` of the likeliest become less likely: request this many more.
    const count = Math.max(draws ? k || USUAL_TOP : 1, minKeep, topLogprobs) + changed;
    return count <= MAX_TOP ? count : undefined;
  }

  /**
   * `logits` are the model's, [V], and stay as they are; `history` is the prompt and what was
   * generated so far; `topLogprobs` is how many of the likeliest tokens to list.
   */
  sample(logits: Float32Array, history: readonly number[], topLogprobs?: number): TokenChoice {
    const all = this.#all;
    if (logits.length !== all.logits.length) {
      throw new Error(`${logits.length} logits for a vocabulary of ${all.logits.length} tokens.`);
    }
    const logSum = logSumExp(logits);
    all.logits.set(logits);
    this.#adjust(all, history);
    const best = largest(all.logits);
    if (best === Number.NEGATIVE_INFINITY) {
      throw new UserError("logitBias bans every token that the model allows here.");
    }
    const id =
      this.#options.temperature === 0
        ? all.logits.indexOf(best)
        : this.#drawFrom(this.#filter(all), history.length);
    const withLogprob = (id: number) => ({ id, logprob: logits[id]! - logSum });
    if (topLogprobs === undefined) return withLogprob(id);
    const top = likeliest(logits, checkTopLogprobs(topLogprobs)).map(withLogprob);
    return { ...withLogprob(id), top };
  }

  /**
   * Chooses from the number of likeliest tokens that `wants` says; undefined if they prove to be
   * too few.
   */
  sampleTop(
    { ids, logits, logSum }: TopLogits,
    history: readonly number[],
    topLogprobs?: number,
  ): TokenChoice | undefined {
    const isAll = ids.length === this.#all.ids.length;
    // In the order of `sample`: of equal adjusted logits, the first id wins.
    const order = [...ids.keys()].sort((a, b) => ids[a]! - ids[b]!);
    const some = {
      ids: Uint32Array.from(order, (i) => ids[i]!),
      logits: Float64Array.from(order, (i) => logits[i]!),
      ...(isAll ? {} : { logSum }),
    };
    const places = new Map([...some.ids].map((id, i) => [id, i]));
    this.#adjust(some, history, (id) => places.get(id));
    const { temperature, topK: k } = this.#options;
    let chosen = some.ids[some.logits.indexOf(largest(some.logits))]!;
    if (temperature > 0) {
      const left = this.#filter(some);
      if (!isAll && k === 0 && left.ids.length === ids.length) return undefined;
      chosen = this.#drawFrom(left, history.length);
    }
    const at = places.get(chosen)!;
    if (some.logits[at] === Number.NEGATIVE_INFINITY) return undefined; // `sample` throws the error
    const choice = { id: chosen, logprob: logits[order[at]!]! - logSum };
    if (topLogprobs === undefined) return choice;
    const count = Math.min(checkTopLogprobs(topLogprobs), ids.length);
    const top = Array.from({ length: count }, (_, i) => {
      return { id: ids[i]!, logprob: logits[i]! - logSum };
    });
    return { ...choice, top };
  }

  #adjust({ logits }: Candidates, history: readonly number[], at?: IndexOf): void {
    addBias(logits, this.#options.logitBias, at);
    penalize(logits, history, this.#options, at);
  }

  /** The largest of logit + noise. */
  #drawFrom({ ids, logits }: Candidates, position: number): number {
    let best = Number.NEGATIVE_INFINITY;
    let chosen = ids[0]!;
    for (let i = 0; i < ids.length; i++) {
      if (logits[i] === Number.NEGATIVE_INFINITY) continue;
      const score = logits[i]! + gumbel(this.seed, position, ids[i]!);
      if (score > best) {
        best = score;
        chosen = ids[i]!;
      }
    }
    return chosen;
  }

  #filter(all: Candidates): Candidates {
    const { topK: k, typicalP, topP: p, minP: fraction, minKeep, temperature } = this.#options;
    let left = topK(all, k);
    left = typical(left, typicalP, minKeep);
    left = topP(left, p, minKeep);
    left = minP(left, fraction, minKeep);
    return temper(left, temperature);
  }
}

/** The ids of the largest of logits [V], the largest first, the first of equals first. */
export function likeliest(logits: Float32Array, count: number): number[] {
  return take(descending(Float64Array.from(logits)), count);
}
