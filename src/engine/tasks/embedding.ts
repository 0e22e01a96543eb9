// Texts as vectors: what the tokens have become at a layer, pooled.

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
  /** Default: what the file says (`pooling_type`), or "mean", in which special tokens have no part. */
  readonly pooling?: Pooling | undefined;
  /**
   * Whose hidden states, as Hugging Face's `hidden_states` counts: 0 the embeddings of the tokens, l behind block l, L the
   * last with the output norm taken. Default: L.
   */
  readonly layer?: number | undefined;
  /** Whether the vector gets length 1, so that a dot product is a cosine. Default: true. */
  readonly normalize?: boolean | undefined;
  /** Ends the work after the step under way: it throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export const EMBED_READERS = {
  pooling: word(POOLINGS),
  layer: whole(0),
  normalize: yesOrNo,
  signal: abortSignal,
} satisfies Readers<EmbedOptions>;

/** The vector [D] of a text, or of token ids. Throws a `UserError` if they are none, or too many for the context. */
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
  const length = normalize ? Math.hypot(...sum) : pooled;
  return Float32Array.from(sum, (value) => value / (length || 1)); // no state is all zeros, but a file may hold any weights
}

/** Which positions have a part in the vector. */
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
  if (ids.every((id) => vocabulary.type(id) === "control")) {
    throw new UserError("There is nothing to embed: give some text.");
  }
  checkFits(model, model.setting.policy, ids.length);
}
