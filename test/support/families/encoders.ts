// A tiny model of every family of encoders, as in recipes.ts. What is recorded are the states of all tokens behind the last
// layer, [T, D], by the pass in f64: llama.cpp's differ from these by its table of GELU, if at all.

import { readFileSync } from "node:fs";
import { PLAIN, type Recipe } from "./model.ts";

type Row = Partial<Recipe> & { readonly architecture: string };

const BERT = {
  isBert: true,
  kvHeads: 4,
  statesHeadWidth: false,
  tied: true,
  norm: "layer with biases",
  norms: ["attn_output_norm", "layer_output_norm"],
} as const;
const ENCODES = [
  ["attention.causal", "bool", false],
  ["pooling_type", "u32", 1],
] as const;

const ROWS = {
  bert: {
    architecture: "bert",
    ...BERT,
    positions: true,
    feed: "plain",
    biases: "all",
    keys: ENCODES,
  },
  "nomic-bert": {
    architecture: "nomic-bert",
    ...BERT,
    qkv: "fused",
    keys: [...ENCODES, ["rope.freq_base", "f32", 1000]],
  },
  "gemma-embedding": {
    architecture: "gemma-embedding",
    width: 64,
    layers: 7,
    tied: true,
    embedding: 0.3,
    norms: ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"],
    headNorms: "heads",
    keys: [...ENCODES, ["attention.sliding_window", "u32", 8], ["rope.freq_base", "f32", 1e6]],
  },
} as const satisfies Record<string, Row>;

export type EncoderName = keyof typeof ROWS;

export const ENCODER_NAMES = Object.keys(ROWS) as EncoderName[];

export function encoderRecipe(name: EncoderName): Recipe {
  return { ...PLAIN, seed: 60 + ENCODER_NAMES.indexOf(name), ...ROWS[name] };
}

const folder = new URL("../../fixtures/golden/families/", import.meta.url);

/** The states [T, D] of the text of all cases. */
export function recordedStates(name: EncoderName): Float32Array {
  const bytes = readFileSync(new URL(`${name}.f64.f32`, folder));
  return new Float32Array(new Uint8Array(bytes).buffer);
}
