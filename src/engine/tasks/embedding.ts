// Texts as vectors: the hidden states of a layer, pooled.

import { partsOf } from "../../context/cache/sequence.ts";
import { POOLINGS, type Pooling } from "../../context/text/embedder.ts";
import { UserError } from "../../errors.ts";
import {
  abortSignal,
  type Readers,
  readOptions,
  textOrIds,
  whole,
  word,
  yesOrNo,
} from "../../option-reader.ts";
import type { OpenedModel } from "../model/opened-model.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import { checkFits, checkIds } from "./checks.ts";

export interface EmbedOptions {
  /** Default: the file's `pooling_type`, or "mean" without special tokens. */
  readonly pooling?: Pooling | undefined;
  /**
   * Which hidden states, counted as in Hugging Face's `hidden_states`: 0 for the token embeddings,
   * l for those after block l, L for the last with the output norm. Default: L.
   */
  readonly layer?: number | undefined;
  /** Whether to scale the vector to length 1, so that a dot product is a cosine. Default: true. */
  readonly normalize?: boolean | undefined;
  /** Aborts after the current step, which throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export const EMBED_READERS = {
  pooling: word(POOLINGS),
  layer: whole(0),
  normalize: yesOrNo,
  signal: abortSignal,
} satisfies Readers<EmbedOptions>;

/**
 * The vector [D] of a text, or of token ids. Throws a `UserError` if there are none, or too many
 * for the context.
 */
export async function embed(
  model: LoadedModel,
  given: string | readonly number[],
  options: EmbedOptions,
): Promise<Float32Array> {
  const { layers: L, width: D } = model.config;
  const read = readOptions("embed", options, EMBED_READERS);
  const { pooling, layer = L, normalize = true, signal } = read;
  const depth = whole(0, L)(layer, "layer");
  const text = textOrIds(given, "text");
  const ids = typeof text === "string" ? model.tokenizer.encode(text) : text;
  checkEmbeddable(model, ids);
  const isPooled = poolingRule(model, ids, pooling ?? defaultPooling(model));
  const sum = new Float64Array(D);
  let pooled = 0;
  const sequence = await model.admit({ ids, signal });
  try {
    for (const { tokens, at } of partsOf(ids, () => sequence.stepLimit)) {
      signal?.throwIfAborted();
      const states = await model.run({ sequence, tokens, wanted: { kind: "hidden", depth } });
      for (let t = 0; t < tokens.length; t++) {
        if (!isPooled(at + t)) continue;
        for (let i = 0; i < D; i++) sum[i]! += states[t * D + i]!;
        pooled++;
      }
    }
  } finally {
    sequence.release();
  }
  if (pooled === 0) throw new UserError("There is nothing to embed: give some text.");
  const length = normalize ? Math.hypot(...sum) : pooled;
  return Float32Array.from(sum, (value) => value / (length || 1)); // zero weights give zero states
}

/** Which positions are pooled. */
function poolingRule(
  { tokenizer: { vocabulary } }: OpenedModel,
  ids: readonly number[],
  pooling: Pooling,
): (position: number) => boolean {
  switch (pooling) {
    case "mean":
      return (position) => vocabulary.type(ids[position]!) !== "control";
    case "mean-all":
      return () => true;
    case "cls":
      return (position) => position === 0;
    case "last":
      return (position) => position === ids.length - 1;
  }
}

function defaultPooling({
  config: { name, architecture, pooling = "mean" },
}: OpenedModel): Pooling {
  if (pooling !== "none") return pooling;
  throw new UserError(
    `${name}: its file says that hidden states are not pooled (${architecture}.pooling_type 0): ` +
      `name a pooling, ${EXPECTED}.`,
  );
}

const EXPECTED = `one of ${POOLINGS.join(", ")}`;

function checkEmbeddable(model: OpenedModel, ids: readonly number[]): void {
  checkIds(model, ids);
  const { vocabulary } = model.tokenizer;
  // An encoder has a vector for the empty text, too: that of its special tokens.
  const isEmpty = model.config.isEncoder
    ? ids.length === 0
    : ids.every((id) => vocabulary.type(id) === "control");
  if (isEmpty) throw new UserError("There is nothing to embed: give some text.");
  checkFits(model, model.setting.policy, ids.length);
}
