/**
 * Softmax over a vocabulary, on the host, once a token. Plain loops, since they are most of the
 * sampler's cost.
 */

import { UserError } from "../../errors.ts";

/**
 * The probabilities of logits: softmax. At least one of them must be finite, none +Infinity or NaN.
 */
export function softmax(logits: Float64Array): Float64Array {
  const top = largest(logits);
  const probabilities = new Float64Array(logits.length);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) {
    const weight = Math.exp(logits[i]! - top);
    probabilities[i] = weight;
    sum += weight;
  }
  for (let i = 0; i < probabilities.length; i++) probabilities[i]! /= sum;
  return probabilities;
}

/** The log-probabilities [V] of a model's logits: log-softmax. Throws if `logSumExp` does. */
export function logSoftmax(logits: Float32Array): Float64Array {
  const normalizer = logSumExp(logits);
  const logprobs = new Float64Array(logits.length);
  for (let id = 0; id < logits.length; id++) logprobs[id] = logits[id]! - normalizer;
  return logprobs;
}

/**
 * ln(sum of exp(logit)), to 1e-9 and without overflow. Throws if a logit is NaN or +Infinity, or if
 * all are -Infinity.
 */
export function logSumExp(logits: Float32Array): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    // Not `logit === Infinity`: the negation catches NaN too, which compares false with everything.
    if (!(logit < Number.POSITIVE_INFINITY)) {
      throw new UserError(
        `The model's logit of token ${id} is ${logit}: a weight or a kernel is broken.`,
      );
    }
    if (logit > top) top = logit;
  }
  if (top === Number.NEGATIVE_INFINITY)
    throw new UserError("The model gives every token -Infinity.");
  let sum = 0;
  for (let id = 0; id < logits.length; id++) sum += decay(top - logits[id]!);
  return top + Math.log(sum);
}

/** Steps of the table in which a value halves. */
const STEPS = 64;
/** 64 halvings: smaller values count as the last one, 1e-19 of the largest term. */
const HALVINGS = Float64Array.from({ length: 64 * STEPS }, (_, step) => 2 ** (-step / STEPS));
const STEPS_PER_UNIT = STEPS / Math.LN2;
const LAST = HALVINGS.length - 1;

/**
 * exp(-x) for x >= 0, four times as fast as `Math.exp`, on which greedy decoding would spend most
 * of its time: a power of two from the table, times three terms of the series for the rest, which
 * is below ln(2)/64.
 */
function decay(x: number): number {
  const steps = Math.min(x * STEPS_PER_UNIT, LAST);
  const step = steps | 0;
  const rest = (step - steps) * (1 / STEPS_PER_UNIT);
  return HALVINGS[step]! * (1 + rest * (1 + rest * (1 / 2 + rest * (1 / 6))));
}

/** The largest value; -Infinity for an empty list. */
export function largest(values: Float64Array): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value > top) top = value;
  }
  return top;
}
