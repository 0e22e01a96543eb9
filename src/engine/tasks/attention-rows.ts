// Attention weights of the tokens of a text, one token after the other.

import { partsOf } from "../../context/cache/sequence.ts";
import {
  type AttentionChoice,
  type AttentionPolicy,
  attentionReader,
} from "../../context/positions/attention-policy.ts";
import { needed, type Readers, readOptions, textOrIds, whole } from "../../option-reader.ts";
import { collectable, type Held } from "../run/abandoned.ts";
import { type AttentionRow, attentionRowsOf } from "../run/attention-probe.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import { checkFits, checkIds, policyOf } from "./checks.ts";

export interface AttentionRowsOptions {
  /** 0 is the first. */
  readonly layer: number;
  /** The attention policy, if it differs from the engine's. */
  readonly attention?: AttentionChoice | undefined;
}

export const ATTENTION_READERS = {
  layer: needed(whole(0)),
  attention: attentionReader,
} satisfies Readers<AttentionRowsOptions>;

/** Computes a text in a sequence of its own and yields the attention weights of each token. */
export function attentionRows(
  model: LoadedModel,
  prompt: string | readonly number[],
  options: AttentionRowsOptions,
): AsyncGenerator<AttentionRow, void, void> {
  const { layer, attention } = readOptions("attention", options, ATTENTION_READERS);
  whole(0, model.config.layers - 1)(layer, "layer");
  const given = textOrIds(prompt, "prompt");
  const ids = typeof given === "string" ? model.tokenizer.encode(given) : given;
  const policy = policyOf(model, attention);
  checkIds(model, ids);
  checkFits(model, policy, ids.length);
  return collectable((held) => rows(model, ids, layer, policy, held));
}

async function* rows(
  model: LoadedModel,
  ids: readonly number[],
  layer: number,
  policy: AttentionPolicy,
  held: Held,
): AsyncGenerator<AttentionRow, void, void> {
  const { shape, groups } = model.setting.cache;
  const { pages } = groups.find(({ layers }) => layers.includes(layer))!;
  const most = attentionRowsOf(shape, pages);
  const sequence = await model.admit({ ids, policy });
  held.push(sequence);
  try {
    for (const { tokens } of partsOf(ids, () => Math.min(sequence.stepLimit, most))) {
      yield* await model.run({ sequence, tokens, wanted: { kind: "attention", layer } });
    }
  } finally {
    held.length = 0;
    sequence.release();
  }
}
