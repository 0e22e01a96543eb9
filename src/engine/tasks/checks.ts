// Checks of a request before any work is done.

import { Sequence } from "../../context/cache/sequence.ts";
import {
  type AttentionChoice,
  type AttentionPolicy,
  attentionPolicy,
  pagesNeeded,
  withSlidingWindow,
} from "../../context/positions/attention-policy.ts";
import { UserError } from "../../errors.ts";
import { FEW } from "../../kernels/adapter/target.ts";
import {
  instance,
  invalid,
  isOfKind,
  isRecord,
  isWhole,
  needed,
  quoteValue,
  type Reader,
  type Readers,
  readOptions,
  tokenIds,
  whole,
} from "../../option-reader.ts";
import type { OpenedModel } from "../model/opened-model.ts";
import { widestWindow } from "../model/traits.ts";
import { slidingWhenFull } from "../options.ts";
import { attentionRowsOf } from "../run/attention-probe.ts";
import { chosenTokens, type Rows, type Wanted } from "../run/step.ts";

/**
 * The policy of one text: its own, or the engine's. It may not see more than the cache was made
 * for.
 */
export function policyOf(
  { config, setting }: OpenedModel,
  attention: AttentionChoice | undefined,
): AttentionPolicy {
  if (!attention) return setting.policy;
  const { context, keptWhenFull } = setting;
  const own = slidingWhenFull(attentionPolicy(attention), context, keptWhenFull);
  const policy = withSlidingWindow(own, widestWindow(config.traits), context);
  for (const { window, pages } of setting.cache.groups) {
    const seen = withSlidingWindow(policy, window, context);
    const most = pagesNeeded(seen, context, 1, setting.cache.shape.pageSize);
    if (most <= pages) continue;
    throw new UserError(
      `Attention ${policy.name} sees more than the cache has room for (${most} pages of ${pages}): ` +
        "see less, or load the engine with this attention.",
    );
  }
  return policy;
}

/** Throws a `UserError` if an id is not a token of the model. */
export function checkIds({ config }: OpenedModel, ids: readonly number[]): void {
  const V = config.vocabulary;
  const bad = ids.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= V);
  if (bad === -1) return;
  throw new UserError(`Token id ${quoteValue(ids[bad])} is none of the model's ${V}.`);
}

/** Throws a `UserError` if a text does not fit the context. */
export function checkFits(
  { config, setting }: OpenedModel,
  { window }: AttentionPolicy,
  tokens: number,
): void {
  const { context } = setting;
  if (window !== Number.POSITIVE_INFINITY || tokens <= context) return;
  const isLargest = config.isEncoder && context >= config.trainedContext;
  const advice = isLargest ? "cut the text" : "load with a larger one";
  throw new UserError(`${tokens} tokens exceed the context of ${context}: ${advice}.`);
}

/** Throws a `UserError` if a model has no next token. */
export function checkDecodes({ config: { isEncoder, name } }: Pick<OpenedModel, "config">): void {
  if (!isEncoder) return;
  throw new UserError(
    `${name} is an encoder: it turns texts into vectors (embed) and generates none. Take another model.`,
  );
}

const WANTED = {
  nothing: {},
  logits: { rows: (rows: unknown) => isWhole(rows, 0) },
  top: {
    keep: (keep: unknown) => isWhole(keep, 1),
    use: (use: unknown) => typeof use === "function",
  },
  choice: { draw: isRecord },
  choices: { draw: isRecord, rows: (rows: unknown) => isWhole(rows, 1) },
  lists: {
    keep: (keep: unknown) =>
      Array.isArray(keep) && keep.length > 0 && keep.every((each) => isWhole(each, 1)),
  },
  hidden: { depth: (depth: unknown) => isWhole(depth, 0) },
  attention: { layer: (layer: unknown) => isWhole(layer, 0) },
};

const wantedReader: Reader<Wanted> = (value, name) => {
  if (isOfKind(value, WANTED)) return value as unknown as Wanted;
  throw invalid(
    name,
    value,
    '{ kind: "nothing" }, { kind: "logits", rows }, { kind: "top", keep, use }, ' +
      '{ kind: "choice", draw }, { kind: "choices", draw, rows }, { kind: "lists", keep }, { kind: "hidden", depth } or { kind: "attention", layer }',
  );
};

const ROWS_READERS = {
  sequence: needed(instance(Sequence, "what engine.sequence() gives")),
  tokens: needed(((value, name) =>
    value instanceof Promise && chosenTokens.has(value) ? value : tokenIds(value, name)) as Reader<
    Rows["tokens"]
  >),
  wanted: needed(wantedReader),
} satisfies Readers<Rows>;

/**
 * Reads rows as a user gives them; throws a `UserError` if they are not a valid step of this model.
 */
export function readRows<W extends Wanted>(model: OpenedModel, given: Rows<W>): Rows<W> {
  const { sequence, tokens, wanted } = readOptions("run", given, ROWS_READERS);
  const { layers } = model.config;
  if (wanted.kind !== "hidden") checkDecodes(model);
  if (wanted.kind === "hidden") whole(0, layers)(wanted.depth, "wanted.depth");
  if (wanted.kind === "attention") whole(0, layers - 1)(wanted.layer, "wanted.layer");
  const count = "length" in tokens ? tokens.length : 1;
  if ("length" in tokens) checkIds(model, tokens);
  whole(1, sequence.stepLimit)(count, "number of tokens");
  if (wanted.kind === "logits") whole(0, count)(wanted.rows, "wanted.rows");
  const byRow = Math.min(count, FEW);
  if (wanted.kind === "choices") whole(1, byRow)(wanted.rows, "wanted.rows");
  if (wanted.kind === "lists") whole(1, byRow)(wanted.keep.length, "number of wanted.keep");
  if (wanted.kind === "attention") {
    const { shape, groups } = model.setting.cache;
    const { pages } = groups.find((group) => group.layers.includes(wanted.layer))!;
    whole(1, attentionRowsOf(shape, pages))(count, "number of tokens for attention");
  }
  return given;
}
