// Complete models of a few kB with seeded random weights: every variant of the graph, written as a GGUF file.

import { randomFloats } from "../../src/laboratory/kernels/random.ts";
import {
  type GgufContents,
  type MetadataEntry,
  type WrittenTensor,
  writeGguf,
} from "./gguf-writer.ts";

export interface TinyShape {
  readonly architecture: "llama" | "qwen2" | "qwen3";
  readonly layers: number; // L
  readonly width: number; // D
  readonly heads: number; // H
  readonly kvHeads: number; // G
  readonly headWidth: number; // E
  readonly feedForward: number; // F
  readonly tied: boolean;
  /** Biases of q, k and v; `all` has one for every matrix, the head's too. */
  readonly biases: "none" | "qkv" | "all";
  /** Divisors of the rotary frequencies, [E/2]. */
  readonly ropeFreqs?: readonly number[];
  readonly slidingWindow?: number;
  /** Which layers slide: a period, all but whose last one do, or a list. */
  readonly slidingPattern?: number | readonly boolean[];
  /** A linear RoPE scaling in the file. */
  readonly linear?: number;
  readonly attentionScale?: number;
  readonly context: number;
  readonly seed: number;
}

export const TINY: TinyShape = {
  architecture: "llama",
  layers: 2,
  width: 32,
  heads: 4,
  kvHeads: 2,
  headWidth: 8,
  feedForward: 48,
  tied: false,
  biases: "none",
  context: 64,
  seed: 1,
};

/** Byte-level BPE in miniature: <s> 0, </s> 1, a space, a to z, and three merges. */
export const TINY_TOKENS: readonly string[] = [
  "<s>",
  "</s>",
  "Ġ",
  ..."abcdefghijklmnopqrstuvwxyz.!",
  "ab",
  "cd",
  "abcd",
  "Ċ",
];
const MERGES = ["a b", "c d", "ab cd"];
const CONTROL = 3;
const NORMAL = 1;

export const EPSILON = 1e-5;
export const ROPE_BASE = 10000;

export interface TinyModel {
  readonly shape: TinyShape;
  readonly contents: GgufContents;
  readonly bytes: Uint8Array;
  /** By the tensor's name. */
  readonly weights: ReadonlyMap<string, Float32Array>;
}

export function tinyModel(changes: Partial<TinyShape> = {}): TinyModel {
  const shape = { ...TINY, ...changes };
  const weights = new Map<string, Float32Array>();
  const tensors: WrittenTensor[] = [];
  let seed = shape.seed * 1000;
  const add = (name: string, sizes: readonly number[], values: Float32Array) => {
    weights.set(name, values);
    const data = new Uint8Array(values.buffer);
    tensors.push({ name, shape: sizes, type: "F32", data });
  };
  /** [n, k], so large that outputs are as large as inputs, `gain` times. */
  const matrix = (name: string, n: number, k: number, gain = 1) =>
    add(`${name}.weight`, [k, n], randomFloats(seed++, n * k, gain * Math.sqrt(3 / k)));
  const norm = (name: string, k: number) =>
    add(
      `${name}.weight`,
      [k],
      randomFloats(seed++, k, 0.5).map((value) => value + 1),
    );
  const bias = (name: string, k: number) => add(`${name}.bias`, [k], randomFloats(seed++, k, 0.5));

  const { width: D, heads: H, kvHeads: G, headWidth: E, feedForward: F } = shape;
  const V = TINY_TOKENS.length;
  matrix("token_embd", V, D, Math.sqrt(D));
  for (let layer = 0; layer < shape.layers; layer++) {
    const name = (suffix: string) => `blk.${layer}.${suffix}`;
    const matrices = [
      ["attn_q", H * E, D, "qkv"],
      ["attn_k", G * E, D, "qkv"],
      ["attn_v", G * E, D, "qkv"],
      ["attn_output", D, H * E, "all"],
      ["ffn_gate", F, D, "all"],
      ["ffn_up", F, D, "all"],
      ["ffn_down", D, F, "all"],
    ] as const;
    norm(name("attn_norm"), D);
    norm(name("ffn_norm"), D);
    if (shape.architecture === "qwen3") {
      norm(name("attn_q_norm"), E);
      norm(name("attn_k_norm"), E);
    }
    for (const [suffix, n, k, biased] of matrices) {
      // Sharp attention: with flat one, what is hidden would hardly be missed.
      matrix(name(suffix), n, k, suffix === "attn_q" ? 2 : 1);
      if (shape.biases === "all" || shape.biases === biased) bias(name(suffix), n);
    }
  }
  norm("output_norm", D);
  if (!shape.tied) matrix("output", V, D);
  if (shape.biases === "all") bias("output", V);
  if (shape.ropeFreqs) add("rope_freqs.weight", [E / 2], Float32Array.from(shape.ropeFreqs));

  const contents = { metadata: metadata(shape), tensors };
  return { shape, contents, bytes: writeGguf(contents), weights };
}

function metadata(shape: TinyShape): MetadataEntry[] {
  const { architecture, slidingWindow, slidingPattern, linear, attentionScale } = shape;
  const key = (name: string) => `${architecture}.${name}`;
  const entries: MetadataEntry[] = [
    ["general.architecture", "string", architecture],
    ["general.name", "string", "tiny"],
    [key("context_length"), "u32", shape.context],
    [key("embedding_length"), "u32", shape.width],
    [key("block_count"), "u32", shape.layers],
    [key("feed_forward_length"), "u32", shape.feedForward],
    [key("attention.head_count"), "u32", shape.heads],
    [key("attention.head_count_kv"), "u32", shape.kvHeads],
    [key("attention.layer_norm_rms_epsilon"), "f32", EPSILON],
    [key("rope.freq_base"), "f32", ROPE_BASE],
    ["tokenizer.ggml.model", "string", "gpt2"],
    ["tokenizer.ggml.pre", "string", "gpt-2"],
    ["tokenizer.ggml.tokens", "string[]", TINY_TOKENS],
    ["tokenizer.ggml.token_type", "i32[]", TINY_TOKENS.map((_, i) => (i < 2 ? CONTROL : NORMAL))],
    ["tokenizer.ggml.merges", "string[]", MERGES],
    ["tokenizer.ggml.bos_token_id", "u32", 0],
    ["tokenizer.ggml.eos_token_id", "u32", 1],
    ["tokenizer.ggml.add_bos_token", "bool", true],
  ];
  if (shape.headWidth * shape.heads !== shape.width) {
    entries.push([key("attention.key_length"), "u32", shape.headWidth]);
    entries.push([key("attention.value_length"), "u32", shape.headWidth]);
  }
  if (slidingWindow) entries.push([key("attention.sliding_window"), "u32", slidingWindow]);
  if (slidingPattern !== undefined) {
    const type = typeof slidingPattern === "number" ? "u32" : "bool[]";
    entries.push([key("attention.sliding_window_pattern"), type, slidingPattern]);
  }
  if (attentionScale) entries.push([key("attention.scale"), "f32", attentionScale]);
  if (linear) {
    entries.push([key("rope.scaling.type"), "string", "linear"]);
    entries.push([key("rope.scaling.factor"), "f32", linear]);
  }
  return entries;
}
