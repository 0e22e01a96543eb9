import { UserError } from "../../kernels/errors.ts";
import { type Candidates, minP, temper, topK, topP, typical } from "./candidates.ts";
import { descending, take } from "./descending.ts";
import { addBias, penalize } from "./penalties.ts";
import { Random } from "./random.ts";
import {
  checkTopLogprobs,
  resolveSampling,
  type Sampling,
  type SamplingOptions,
} from "./sampling-options.ts";
import { largest, logSumExp, softmax } from "./softmax.ts";

export type { SamplingOptions } from "./sampling-options.ts";
export { logSoftmax } from "./softmax.ts";

export interface TokenLogprob {
  readonly id: number;
  /**
   * The logarithm of the probability that the *model* gave the token: log-softmax of its raw
   * logits, before bias, penalties, filters and temperature. So it says what the model thinks, whatever the sampler
   * was told, and greedy and sampled texts can be compared.
   */
  readonly logprob: number;
}

export interface TokenChoice extends TokenLogprob {
  /** The model's likeliest tokens, the likeliest first, where they were asked for. */
  readonly top?: readonly TokenLogprob[];
}

/**
 * Chooses the next token. The order is llama.cpp's: bias, penalties, top-k, typical, top-p, min-p, temperature, draw.
 * A sampler carries the state of its random numbers, so each sequence needs one of its own.
 */
export class Sampler {
  readonly #options: Sampling;
  readonly #random: Random;
  /** The whole vocabulary, refilled at every step: [V] ids, which stay, and [V] logits. */
  readonly #all: Candidates;

  constructor(options: SamplingOptions, vocabularySize: number) {
    this.#options = resolveSampling(options, vocabularySize);
    this.#random = new Random(this.#options.seed);
    this.#all = {
      ids: Uint32Array.from({ length: vocabularySize }, (_, id) => id),
      logits: new Float64Array(vocabularySize),
    };
  }

  /** The seed in use: given again, it gives the same text again. */
  get seed(): number {
    return this.#options.seed;
  }

  /** Whether it takes the model's own likeliest token, whatever came before. */
  get isArgmax(): boolean {
    const o = this.#options;
    const penalised = o.repeatPenalty !== 1 || o.frequencyPenalty !== 0 || o.presencePenalty !== 0;
    return o.temperature === 0 && o.logitBias.size === 0 && !penalised;
  }

  /**
   * `logits` are the model's, [V], and stay as they are; `history` is the prompt and what was generated so far;
   * `topLogprobs` is how many of the likeliest tokens to list.
   */
  sample(logits: Float32Array, history: readonly number[], topLogprobs?: number): TokenChoice {
    const adjusted = this.#all.logits;
    if (logits.length !== adjusted.length) {
      throw new Error(`${logits.length} logits for a vocabulary of ${adjusted.length} tokens.`);
    }
    const normalizer = logSumExp(logits);
    adjusted.set(logits);
    addBias(adjusted, this.#options.logitBias);
    penalize(adjusted, history, this.#options);
    const best = argmax(adjusted);
    if (adjusted[best] === Number.NEGATIVE_INFINITY) {
      throw new UserError("logitBias bans every token that the model allows here.");
    }
    const id = this.#options.temperature === 0 ? best : this.#draw();

    const withLogprob = (id: number) => ({ id, logprob: logits[id]! - normalizer });
    if (topLogprobs === undefined) return withLogprob(id);
    return {
      ...withLogprob(id),
      top: likeliest(logits, checkTopLogprobs(topLogprobs)).map(withLogprob),
    };
  }

  #draw(): number {
    const { ids, logits } = this.#filter(this.#all);
    const probabilities = softmax(logits);
    const target = this.#random.uniform();
    let mass = 0;
    let chosen = 0;
    for (let i = 0; i < probabilities.length; i++) {
      if (probabilities[i] === 0) continue;
      chosen = i; // rounding may leave the whole mass just below the target: then the last one possible
      mass += probabilities[i]!;
      if (mass > target) break;
    }
    return ids[chosen]!;
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

/** The index of the largest value, the first of equal ones. */
function argmax(values: Float64Array): number {
  return values.indexOf(largest(values));
}

function likeliest(logits: Float32Array, count: number): number[] {
  return take(descending(Float64Array.from(logits)), count);
}
