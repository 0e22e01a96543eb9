// Measures how well a model predicts a given text.

import { partsOf } from "../../context/cache/sequence.ts";
import { UserError } from "../../errors.ts";
import { argmax } from "../../numbers.ts";
import { callback, tokenIds } from "../../option-reader.ts";
import type { OpenedModel } from "../model/opened-model.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import { NotFiniteError } from "../run/not-finite.ts";
import { logSumExp } from "../sampler/softmax.ts";
import { checkFits, checkIds } from "./checks.ts";

export interface Score {
  /** Negative log-likelihood, in nats, of token i + 1 given tokens 0..i: one fewer than tokens. */
  readonly nll: readonly number[];
  /** The likeliest next token after each token. */
  readonly argmax: readonly number[];
  /** exp of the mean of `nll`. */
  readonly perplexity: number;
}

export async function score(
  model: LoadedModel,
  ids: readonly number[],
  onRow: (position: number, logits: Float32Array) => void | Promise<void> = () => {},
): Promise<Score> {
  checkScorable(model, tokenIds(ids, "ids"));
  callback(onRow, "onRow");
  const V = model.config.vocabulary;
  const nll: number[] = [];
  const likeliest: number[] = [];
  const sequence = await model.admit({ ids });
  try {
    for (const { tokens, at } of partsOf(ids, () => sequence.stepLimit)) {
      const wanted = { kind: "logits", rows: tokens.length } as const;
      const logits = await model.run({ sequence, tokens, wanted });
      for (let t = 0; t < tokens.length; t++) {
        const row = logits.subarray(t * V, (t + 1) * V);
        const next = ids[at + t + 1];
        if (next !== undefined) nll.push(surprise(model, row, next));
        likeliest.push(argmax(row));
        await onRow(at + t, row);
      }
    }
  } finally {
    sequence.release();
  }
  return { nll, argmax: likeliest, perplexity: perplexity(nll) };
}

/** Negative log-likelihood, in nats, of a token under logits [V]. */
function surprise({ setting }: OpenedModel, logits: Float32Array, token: number): number {
  const nll = logSumExp(logits) - logits[token]!;
  if (Number.isFinite(nll)) return nll;
  const what = `The negative log-likelihood of token ${token} is ${nll}`;
  throw new NotFiniteError(what, setting.cache.shape.kvType);
}

/**
 * exp of the mean of negative log-likelihoods in nats; NaN for an empty list. Throws a `UserError`
 * if it is too large for a number.
 */
export function perplexity(nll: readonly number[]): number {
  const mean = nll.reduce((sum, value) => sum + value, 0) / nll.length;
  const found = Math.exp(mean);
  if (found !== Number.POSITIVE_INFINITY) return found;
  throw new UserError(
    `A mean negative log-likelihood of ${mean} nats has no perplexity: at most 709 does. ` +
      "A weight of the model is broken, or its scaling is.",
  );
}

/**
 * Throws a `UserError` if an id is not a token of the model, or if they are too few, or too many
 * for its context.
 */
export function checkScorable(model: OpenedModel, ids: readonly number[]): void {
  checkIds(model, ids);
  if (ids.length < 2)
    throw new UserError(`${ids.length} tokens cannot be scored: at least 2 are needed.`);
  checkFits(model, model.setting.policy, ids.length);
}
