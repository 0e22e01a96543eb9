// Tiny random F32 models of the families: a recipe says which tensors and keys a file has, in the terms of
// llama.cpp's loader. The engine reads what is written here as it reads any file, so nothing of it is shared.

import { randomFloats } from "../../../src/laboratory/kernels/random.ts";
import {
  type GgufContents,
  type MetadataEntry,
  type WrittenScalar,
  type WrittenTensor,
  type WrittenType,
  writeGguf,
} from "../gguf-writer.ts";
import { TINY_TOKENS } from "../tiny-model.ts";

/** A key without the architecture's name. */
export type Key = readonly [
  name: string,
  type: WrittenType,
  value: WrittenScalar | readonly WrittenScalar[],
];

/** The norms of a layer that are [D], as files call them. */
export type LayerNorm =
  | ("attn_norm" | "post_attention_norm" | "ffn_norm" | "post_ffw_norm")
  | ("attn_output_norm" | "layer_output_norm");

export interface Recipe {
  readonly architecture: string;
  readonly seed: number;
  readonly layers: number; // L
  readonly width: number; // D
  readonly heads: number; // H
  readonly kvHeads: number; // G
  readonly headWidth: number; // E
  readonly feedForward: number; // F
  /** R: numbers of a head that rotate. */
  readonly rotated: number;
  /** Whether the file has `attention.key_length`: else E is D/H. */
  readonly statesHeadWidth: boolean;
  readonly norm: "rms" | "layer" | "layer with biases";
  readonly norms: readonly LayerNorm[];
  /** Weights of the norms of queries and keys: [E], [H E] and [G E], or [H, E] and [G, E]. */
  readonly headNorms: "none" | "heads" | "rows" | "own";
  readonly qkv: "split" | "fused";
  readonly feed: "gated" | "fused" | "plain";
  /** Which matrices of a layer have biases. */
  readonly biases: "none" | "qkv" | "attention" | "all";
  readonly tied: boolean;
  readonly outputBias: boolean;
  /** How large the embeddings are: small where the family scales them. */
  readonly embedding: number;
  readonly keys: readonly Key[];
  /** Tensors that are no part of a layer, such as divisors of frequencies. */
  readonly tensors: Readonly<Record<string, readonly number[]>>;
  /** Blocks behind the layers, for the prediction of several tokens. */
  readonly predicting: number;
  /** Whether the embeddings are those of BERT: with types and a norm, and nothing behind the layers. */
  readonly isBert: boolean;
  /** Whether positions have rows of a table. */
  readonly positions: boolean;
}

/** What most of the families are: the shapes are one, so that their kernels are. */
export const PLAIN: Omit<Recipe, "architecture" | "seed"> = {
  layers: 2,
  width: 128,
  heads: 4,
  kvHeads: 2,
  headWidth: 32,
  feedForward: 96,
  rotated: 32,
  statesHeadWidth: true,
  norm: "rms",
  norms: ["attn_norm", "ffn_norm"],
  headNorms: "none",
  qkv: "split",
  feed: "gated",
  biases: "none",
  tied: false,
  outputBias: false,
  embedding: 1,
  keys: [],
  tensors: {},
  predicting: 0,
  isBert: false,
  positions: false,
};

/** So large that a hundred times as much is seen in the logits. */
const EPSILON = 1e-4;
export const TRAINED_CONTEXT = 256;

/** Collects the tensors of a file; each has a seed of its own. */
class Tensors {
  readonly all: WrittenTensor[] = [];
  readonly #recipe: Recipe;
  #seed: number;

  constructor(recipe: Recipe) {
    this.#recipe = recipe;
    this.#seed = 1000 * recipe.seed;
  }

  add(name: string, shape: readonly number[], values: Float32Array): void {
    this.all.push({ name, shape, type: "F32", data: new Uint8Array(values.buffer) });
  }

  #random(count: number, scale: number): Float32Array {
    return randomFloats(this.#seed++, count, scale);
  }

  /** [n, k], such that outputs are about 1.6 times as large as inputs: what is wrong is not lost. */
  matrix(name: string, n: number, k: number, gain = 1.6): void {
    this.add(`${name}.weight`, [k, n], this.#random(n * k, gain * Math.sqrt(3 / k)));
  }

  bias(name: string, n: number): void {
    this.add(`${name}.bias`, [n], this.#random(n, 0.5));
  }

  /** Weights around 1, and biases if the family's norms have them. */
  norm(name: string, ...shape: readonly number[]): void {
    const count = shape.reduce((product, size) => product * size, 1);
    const values = this.#random(count, 0.5).map((value) => value + 1);
    this.add(`${name}.weight`, shape, values);
    if (this.#recipe.norm === "layer with biases" && shape.length === 1) this.bias(name, count);
  }
}

/** The file of a recipe. */
export function familyContents(recipe: Recipe): GgufContents {
  const { width: D, layers, predicting, embedding } = recipe;
  const V = TINY_TOKENS.length;
  const tensors = new Tensors(recipe);
  tensors.matrix("token_embd", V, D, embedding * Math.sqrt(D));
  if (recipe.positions) tensors.matrix("position_embd", TRAINED_CONTEXT, D, 0.3 * Math.sqrt(D));
  if (recipe.isBert) {
    tensors.matrix("token_types", 2, D, 0.3 * Math.sqrt(D));
    tensors.norm("token_embd_norm", D);
  } else tensors.norm("output_norm", D);
  if (!recipe.tied) tensors.matrix("output", V, D);
  if (recipe.outputBias) tensors.bias("output", V);
  for (const [name, values] of Object.entries(recipe.tensors)) {
    tensors.add(name, [values.length], Float32Array.from(values));
  }
  for (let i = 0; i < layers + predicting; i++) addLayer(tensors, recipe, `blk.${i}`);
  return { metadata: metadata(recipe), tensors: tensors.all };
}

export const familyModel = (recipe: Recipe): Uint8Array => writeGguf(familyContents(recipe));

function addLayer(tensors: Tensors, recipe: Recipe, layer: string): void {
  const { width: D, heads: H, kvHeads: G, headWidth: E, feedForward: F, biases } = recipe;
  const linear = (name: string, n: number, k: number, isBiased: boolean) => {
    tensors.matrix(`${layer}.${name}`, n, k);
    if (isBiased) tensors.bias(`${layer}.${name}`, n);
  };
  for (const norm of recipe.norms) tensors.norm(`${layer}.${norm}`, D);
  const shape = (heads: number) => {
    if (recipe.headNorms === "own") return [E, heads];
    return recipe.headNorms === "rows" ? [heads * E] : [E];
  };
  if (recipe.headNorms !== "none") {
    tensors.norm(`${layer}.attn_q_norm`, ...shape(H));
    tensors.norm(`${layer}.attn_k_norm`, ...shape(G));
  }
  const qkv = biases !== "none";
  if (recipe.qkv === "fused") linear("attn_qkv", (H + 2 * G) * E, D, qkv);
  else {
    linear("attn_q", H * E, D, qkv);
    linear("attn_k", G * E, D, qkv);
    linear("attn_v", G * E, D, qkv);
  }
  linear("attn_output", D, H * E, biases === "attention" || biases === "all");
  if (recipe.feed === "gated") linear("ffn_gate", F, D, biases === "all");
  linear("ffn_up", recipe.feed === "fused" ? 2 * F : F, D, biases === "all");
  linear("ffn_down", D, F, biases === "all");
}

function metadata(recipe: Recipe): MetadataEntry[] {
  const { architecture, headWidth, predicting } = recipe;
  const epsilon =
    recipe.norm === "rms" ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
  const keys: Key[] = [
    ["context_length", "u32", TRAINED_CONTEXT],
    ["embedding_length", "u32", recipe.width],
    ["block_count", "u32", recipe.layers + predicting],
    ["feed_forward_length", "u32", recipe.feedForward],
    ["attention.head_count", "u32", recipe.heads],
    ["attention.head_count_kv", "u32", recipe.kvHeads],
    [epsilon, "f32", EPSILON],
    ["rope.dimension_count", "u32", recipe.rotated],
  ];
  if (recipe.statesHeadWidth) {
    keys.push(["attention.key_length", "u32", headWidth]);
    keys.push(["attention.value_length", "u32", headWidth]);
  }
  if (predicting > 0) keys.push(["nextn_predict_layers", "u32", predicting]);
  const own = new Map([...keys, ...recipe.keys].map((key) => [key[0], key]));
  return [
    ["general.architecture", "string", architecture],
    ["general.name", "string", "tiny"],
    ...[...own.values()].map(
      ([name, type, value]): MetadataEntry => [`${architecture}.${name}`, type, value],
    ),
    ...(recipe.isBert ? [TYPES] : []),
    ...TOKENIZER,
  ];
}

const TYPES: MetadataEntry = ["tokenizer.ggml.token_type_count", "u32", 2];
const CONTROL = 3;
const NORMAL = 1;

/** That of tiny-model.ts. */
const TOKENIZER: readonly MetadataEntry[] = [
  ["tokenizer.ggml.model", "string", "gpt2"],
  ["tokenizer.ggml.pre", "string", "gpt-2"],
  ["tokenizer.ggml.tokens", "string[]", TINY_TOKENS],
  ["tokenizer.ggml.token_type", "i32[]", TINY_TOKENS.map((_, i) => (i < 2 ? CONTROL : NORMAL))],
  ["tokenizer.ggml.merges", "string[]", ["a b", "c d", "ab cd"]],
  ["tokenizer.ggml.bos_token_id", "u32", 0],
  ["tokenizer.ggml.eos_token_id", "u32", 1],
  ["tokenizer.ggml.add_bos_token", "bool", true],
];
