// What the tokens of a text attend to, one after the other.

import {
  type AttentionChoice,
  type AttentionPolicy,
  attentionReader,
} from "../../context/positions/attention-policy.ts";
import { needed, type Readers, readOptions, textOrIds, whole } from "../../option-reader.ts";
import type { LoadedModel } from "../model/model-state.ts";
import { collectable, type Held } from "../run/abandoned.ts";
import type { AttentionProbe, AttentionRow } from "../run/attention-probe.ts";
import { checkFits, checkIds, policyOf } from "./checks.ts";

export interface AttentionRowsOptions {
  /** 0 is the first. */
  readonly layer: number;
  /** What queries see, where it differs from what the engine was loaded with. */
  readonly attention?: AttentionChoice | undefined;
}

export const ATTENTION_READERS = {
  layer: needed(whole(0)),
  attention: attentionReader,
} satisfies Readers<AttentionRowsOptions>;

type ProbedModel = LoadedModel & { probe(layer: number): Promise<AttentionProbe> };

/** Feeds a text to a sequence of its own and yields what each of its tokens attended to. */
export function attentionRows(
  model: ProbedModel,
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
  model: ProbedModel,
  ids: readonly number[],
  layer: number,
  policy: AttentionPolicy,
  held: Held,
): AsyncGenerator<AttentionRow, void, void> {
  const sequence = await model.admit({ ids, policy });
  held.push(sequence);
  let probe: AttentionProbe | undefined;
  try {
    probe = await model.probe(layer);
    held.push(probe);
    for (let at = 0; at < ids.length; ) {
      const tokens = ids.slice(at, at + Math.min(model.stepLimit(sequence), probe.tokens));
      await model.step(sequence, tokens, 0, probe);
      yield* await probe.rows(sequence, tokens.length);
      at += tokens.length;
    }
  } finally {
    held.length = 0;
    sequence.release();
    probe?.release();
  }
}
