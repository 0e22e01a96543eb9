// What the tokens of a text attend to, one after the other.

import type { AttentionOptions, AttentionPolicy } from "../context/attention-policy.ts";
import { collectable, type Held } from "./abandoned.ts";
import type { AttentionProbe, AttentionRow } from "./attention-probe.ts";
import type { LoadedModel } from "./model-state.ts";
import { count } from "./options.ts";
import { checkFits, checkIds, policyOf } from "./requests.ts";

export interface AttentionRowsOptions {
  /** 0 is the first. */
  readonly layer: number;
  /** What queries see, where it differs from what the engine was loaded with. */
  readonly attention?: AttentionOptions | AttentionPolicy | undefined;
}

/** Feeds ids to a sequence of its own and yields what each of them attended to. */
export function attentionRows(
  model: ProbedModel,
  ids: readonly number[],
  options: AttentionRowsOptions,
): AsyncGenerator<AttentionRow, void, void> {
  return collectable((held) => rows(model, ids, options, held));
}

type ProbedModel = LoadedModel & { probe(layer: number): Promise<AttentionProbe> };

async function* rows(
  model: ProbedModel,
  ids: readonly number[],
  { layer, attention }: AttentionRowsOptions,
  held: Held,
): AsyncGenerator<AttentionRow, void, void> {
  count("layer", layer, 0, model.config.layers - 1);
  const policy = policyOf(model, attention);
  checkIds(model, ids);
  checkFits(model, policy, ids.length);
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
