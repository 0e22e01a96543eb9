// What is checked of a request before any work.

import {
  type AttentionChoice,
  type AttentionPolicy,
  attentionPolicy,
  pagesNeeded,
  withSlidingWindow,
} from "../../context/positions/attention-policy.ts";
import { UserError } from "../../errors.ts";
import { quoteValue } from "../../option-reader.ts";
import type { OpenedModel } from "../model/model-state.ts";
import { slidingWhenFull } from "../options.ts";

/** The policy of one text: the engine's, or one of its own, which may see no more than the cache was made for. */
export function policyOf(
  { config, setting }: OpenedModel,
  attention: AttentionChoice | undefined,
): AttentionPolicy {
  if (!attention) return setting.policy;
  const { context, keptWhenFull } = setting;
  const own = slidingWhenFull(attentionPolicy(attention), context, keptWhenFull);
  const policy = withSlidingWindow(own, config.slidingWindow, context);
  const { pages, shape } = setting.cache;
  const needed = pagesNeeded(policy, context, 1, shape.pageSize);
  if (needed <= pages) return policy;
  throw new UserError(
    `Attention ${policy.name} sees more than the cache has room for (${needed} pages of ${pages}): ` +
      "see less, or load the engine with this attention.",
  );
}

/** Throws a `UserError` where ids are no tokens of the model. */
export function checkIds({ config }: OpenedModel, ids: readonly number[]): void {
  const V = config.vocabulary;
  const bad = ids.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= V);
  if (bad === -1) return;
  throw new UserError(`Token id ${quoteValue(ids[bad])} is none of the model's ${V}.`);
}

/** Throws a `UserError` where a text does not fit the context. */
export function checkFits(
  { setting }: OpenedModel,
  { window }: AttentionPolicy,
  tokens: number,
): void {
  const { context } = setting;
  if (window === Number.POSITIVE_INFINITY && tokens > context) {
    throw new UserError(
      `${tokens} tokens exceed the context of ${context}: load with a larger one.`,
    );
  }
}
