import { UserError } from "../../errors.ts";
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
   * logits, before bias, penalties, filters and temperature. So it says what the model thinks, whatever the sampler
   * was told, and greedy and sampled texts can be compared.
   */
  readonly logprob: number;
}

export interface TokenChoice extends TokenLogprob {
  /** The model's likeliest tokens, the likeliest first, if they were asked for. */
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

/** What an adapter needs to choose by itself: the likeliest token at temperature 0, else a draw. */
export interface Draw {
  readonly temperature: number;
  readonly seed: number;
}

/** The most tokens that a sampler asks for, short of all. */
const MAX_TOP = 512;

/** The likeliest tokens that are asked for where nothing but probability limits them. */
const USUAL_TOP = 256;

/** Temperatures at which f32 tells logits and noise apart. */
const [COLDEST, HOTTEST] = [0.01, 100];

/**
 * Chooses the next token. The order is llama.cpp's: bias, penalties, top-k, typical, top-p, min-p, temperature, draw.
 * A draw depends on the seed and on the position of the token in the text, and on nothing drawn before.
 */
export class Sampler {
  readonly #options: Sampling;
  /** The whole vocabulary, refilled at every step: [V] ids, which stay, and [V] logits. */
  readonly #all: Candidates;

  constructor(options: SamplingOptions, vocabularySize: number) {
    this.#options = resolveSampling(options, vocabularySize);
    this.#all = {
      ids: Uint32Array.from({ length: vocabularySize }, (_, id) => id),
      logits: new Float64Array(vocabularySize),
    };
  }

  /** The seed in use: given again, it gives the same text again. */
  get seed(): number {
    return this.#options.seed;
  }

  /** How an adapter chooses as this sampler would; nothing where it takes more than temperature and noise. */
  get draw(): Draw | undefined {
    const { temperature, seed, logitBias, topK: k, topP: p, minP: fraction } = this.#options;
    if (logitBias.size > 0 || penalized([0], this.#options) > 0) return undefined;
    if (temperature === 0) return { temperature, seed };
    const filters = k > 0 || p < 1 || fraction > 0 || this.#options.typicalP < 1;
    const tells = temperature >= COLDEST && temperature <= HOTTEST;
    return filters || !tells ? undefined : { temperature, seed };
  }

  /** How many of the likeliest tokens `sampleTop` needs after this text; undefined where `sample` needs all. */
  wants(history: readonly number[], topLogprobs = 0): number | undefined {
    const { temperature, topK: k, topP: p, minP: fraction, typicalP } = this.#options;
    const { logitBias, minKeep } = this.#options;
    const draws = temperature > 0;
    const changed = logitBias.size + penalized(history, this.#options);
    if (changed > 0 && canRaise(logitBias, this.#options)) return undefined;
    if (draws && typicalP < 1) return undefined;
    // Where nothing but probability limits the choice, the sum over all tokens must be known, and something must limit it.
    if (draws && k === 0 && (changed > 0 || (p === 1 && fraction === 0))) return undefined;
    // At most `changed` of the likeliest become less likely: this many more make up for them.
    const count = Math.max(draws ? k || USUAL_TOP : 1, minKeep, topLogprobs) + changed;
    return count <= MAX_TOP ? count : undefined;
  }

  /**
   * `logits` are the model's, [V], and stay as they are; `history` is the prompt and what was generated so far;
   * `topLogprobs` is how many of the likeliest tokens to list.
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

  /** The same from as many of the likeliest tokens as `wants` says; undefined where they turn out to be too few. */
  sampleTop(
    { ids, logits, logSum }: TopLogits,
    history: readonly number[],
    topLogprobs?: number,
  ): TokenChoice | undefined {
    const isAll = ids.length === this.#all.ids.length;
    // In the order of `sample`: of equals, once they are adjusted, the first id wins.
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
    if (some.logits[at] === Number.NEGATIVE_INFINITY) return undefined; // `sample` finds the words for it
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

function likeliest(logits: Float32Array, count: number): number[] {
  return take(descending(Float64Array.from(logits)), count);
}
