// A tiny model of every family of architectures.ts, drawn so that all that the family does shows in its logits. Which
// tensors and keys a family's files have was read from llama.cpp's loaders (v0.4.0).

import type { EngineOptions } from "../../../src/index.ts";
import { type Key, type LayerNorm, PLAIN, type Recipe, TRAINED_CONTEXT } from "./model.ts";

/** A model, and how it is run so that its logits are those that were recorded. */
export interface Family extends Recipe {
  /** What is recorded is a file that differs in this, and says outright what the family implies. */
  readonly recorded: Partial<Recipe>;
  /** Options of loading that make the file what was recorded. */
  readonly options: EngineOptions;
  /** Whether llama.cpp computes the activation by a table of halves: the f64 pass is recorded, too. */
  readonly gelu: boolean;
  /** Why llama.cpp's logits are not those of the family: those of the f64 pass are recorded instead. */
  readonly notByLlamaCpp: string | undefined;
}

type Row = Partial<Family> & {
  readonly architecture: string;
  /** Another row, whose weights this one has. */
  readonly weightsOf?: string;
};

const BOTH: readonly LayerNorm[] = [
  "attn_norm",
  "post_attention_norm",
  "ffn_norm",
  "post_ffw_norm",
];
const BEHIND: readonly LayerNorm[] = ["post_attention_norm", "post_ffw_norm"];

const f32 = (name: string, value: number): Key => [name, "f32", value];
const u32 = (name: string, value: number): Key => [name, "u32", value];
const window = u32("attention.sliding_window", 8);
const yarn = (factor: number, original: number): Key[] => [
  ["rope.scaling.type", "string", "yarn"],
  f32("rope.scaling.factor", factor),
  u32("rope.scaling.original_context_length", original),
];
/** Counts of pairs for the axes of M-RoPE, which cover the head: the positions of a text are one. */
const sections: Key = ["rope.dimension_sections", "i32[]", [6, 5, 5, 0]];

/** A model of many layers: their shapes are as above, but for this. */
const NARROW = { feedForward: 32 };

const SCALES: readonly Key[] = [
  f32("attention.scale", 0.15),
  f32("embedding_scale", 3),
  f32("residual_scale", 0.4),
  f32("logit_scale", 4),
];

/** Heads that are wider together than the model. */
const WIDE_HEADS = { width: 64 } as const;

const gemma = { ...WIDE_HEADS, gelu: true, tied: true, embedding: 0.3 } as const;
const linear = (factor: number): Key[] => [
  ["rope.scaling.type", "string", "linear"],
  f32("rope.scaling.factor", factor),
];
const gemma3 = (factor: number) =>
  ({
    architecture: "gemma3",
    ...gemma,
    layers: 7,
    norms: BOTH,
    headNorms: "heads",
    keys: [window, f32("rope.freq_base", 1e6), ...linear(factor)],
  }) as const;
const smollm3 = { architecture: "smollm3", layers: 5, tied: true } as const;
const longrope = (original: number) =>
  ({
    qkv: "fused",
    feed: "fused",
    rotated: 20, // pairs 10 numbers apart: not aligned to four
    keys: [
      u32("rope.scaling.original_context_length", original),
      f32("rope.scaling.attn_factor", 1.19),
      u32("attention.sliding_window", 4), // as converters wrote it: it is to be ignored
    ],
    tensors: {
      "rope_factors_long.weight": Array.from({ length: 10 }, (_, i) => 1 + i),
      "rope_factors_short.weight": Array.from({ length: 10 }, (_, i) => 1 + 0.1 * i),
    },
  }) as const;

const ROWS = {
  llama: { architecture: "llama", statesHeadWidth: false },
  // A block for the prediction of several tokens is not run.
  "llama-predicting": {
    architecture: "llama",
    statesHeadWidth: false,
    predicting: 1,
    weightsOf: "llama",
    recorded: { predicting: 0 },
  },
  "llama-fused": { architecture: "llama", qkv: "fused", biases: "attention" },
  qwen2: { architecture: "qwen2", biases: "qkv", tied: true },
  qwen3: { architecture: "qwen3", ...WIDE_HEADS, headNorms: "heads" },
  qwen2vl: {
    architecture: "qwen2vl",
    biases: "qkv",
    keys: [sections],
    notByLlamaCpp: "it does not read the epsilon of the norms",
  },
  qwen3vl: { architecture: "qwen3vl", headNorms: "heads", keys: [sections] },
  mistral3: {
    architecture: "mistral3",
    ...WIDE_HEADS,
    keys: [
      ...yarn(16, 16),
      f32("rope.scaling.yarn_beta_fast", 32),
      f32("rope.scaling.yarn_beta_slow", 1),
      f32("rope.scaling.yarn_log_multiplier", 0.5),
      f32("attention.temperature_scale", 0.3),
    ],
  },
  granite: { architecture: "granite", tied: true, keys: SCALES },
  "granite-unrotated": {
    architecture: "granite",
    tied: true,
    keys: [...SCALES, ["rope.scaling.finetuned", "bool", false]],
  },
  smollm3,
  "smollm3-yarn4": {
    ...smollm3,
    weightsOf: "smollm3",
    options: { rope: { kind: "yarn", factor: 4 } },
    recorded: { keys: yarn(4, TRAINED_CONTEXT) },
  },
  ernie4_5: { architecture: "ernie4_5", tied: true, keys: [f32("rope.freq_base", 5e5)] },
  internlm2: { architecture: "internlm2" },
  minicpm: {
    architecture: "minicpm",
    tied: true,
    embedding: 0.2,
    keys: [f32("embedding_scale", 9), f32("residual_scale", 0.7), f32("logit_scale", 0.25)],
  },
  // llama.cpp takes the inverse of the default of logit_scale.
  "minicpm-defaults": {
    architecture: "minicpm",
    tied: true,
    embedding: 0.2,
    recorded: {
      keys: [
        f32("embedding_scale", 12),
        f32("residual_scale", 1.4 / Math.sqrt(2)),
        f32("logit_scale", 128 / 256),
      ],
    },
  },
  seed_oss: {
    architecture: "seed_oss",
    norms: ["attn_norm", "post_attention_norm"],
    biases: "qkv",
  },
  gemma: { architecture: "gemma", ...gemma },
  gemma2: {
    architecture: "gemma2",
    ...gemma,
    layers: 4,
    norms: BOTH,
    keys: [window, f32("attn_logit_softcapping", 5), f32("final_logit_softcapping", 6)],
  },
  gemma3: gemma3(8),
  // The scaling of a user takes the place of the file's, in the layers that see all.
  "gemma3-linear2": {
    ...gemma3(8),
    weightsOf: "gemma3",
    options: { rope: { kind: "linear", factor: 2 } },
    recorded: { keys: gemma3(2).keys },
  },
  phi3: { architecture: "phi3", ...longrope(128) },
  // llama.cpp takes the short divisors if its context, which is 512 here, is not longer than the original.
  "phi3-short": {
    architecture: "phi3",
    ...longrope(128),
    weightsOf: "phi3",
    options: { context: 64 },
    recorded: { keys: longrope(512).keys },
  },
  phi2: {
    architecture: "phi2",
    gelu: true,
    norm: "layer with biases",
    norms: ["attn_norm"],
    rotated: 20,
    feed: "plain",
    biases: "all",
    outputBias: true,
  },
  olmo2: { architecture: "olmo2", norms: BEHIND, headNorms: "rows" },
  olmo3: {
    architecture: "olmo2",
    layers: 5,
    norms: BEHIND,
    headNorms: "rows",
    keys: [window, ...yarn(8, 32)],
  },
  exaone4: { architecture: "exaone4", norms: BEHIND, headNorms: "heads", tied: true },
  "exaone4-64": {
    architecture: "exaone4",
    ...NARROW,
    layers: 64,
    norms: BEHIND,
    headNorms: "heads",
    tied: true,
    keys: [window],
  },
  "hunyuan-dense": { architecture: "hunyuan-dense", headNorms: "heads", tied: true },
  glm4: {
    architecture: "glm4",
    norms: BOTH,
    rotated: 16,
    feed: "fused",
    biases: "qkv",
  },
  "command-r": {
    architecture: "command-r",
    norm: "layer",
    norms: ["attn_norm"],
    tied: true,
    keys: [f32("logit_scale", 0.0625)],
  },
  // llama.cpp looks for norms of heads from 64 layers on.
  "command-r-64": {
    architecture: "command-r",
    ...NARROW,
    layers: 64,
    norm: "layer",
    norms: ["attn_norm"],
    headNorms: "own",
    tied: true,
    keys: [f32("logit_scale", 0.0625)],
  },
  cohere2: {
    architecture: "cohere2",
    layers: 5,
    norm: "layer",
    norms: ["attn_norm"],
    tied: true,
    keys: [window, f32("logit_scale", 0.25)],
  },
  starcoder2: {
    architecture: "starcoder2",
    gelu: true,
    norm: "layer with biases",
    feed: "plain",
    biases: "all",
    tied: true,
  },
  stablelm: { architecture: "stablelm", norm: "layer with biases", rotated: 16, biases: "qkv" },
  "stablelm-parallel": {
    architecture: "stablelm",
    norm: "layer with biases",
    norms: ["attn_norm"],
    headNorms: "own",
    rotated: 16,
  },
  nemotron: {
    architecture: "nemotron",
    norm: "layer with biases",
    rotated: 16,
    feed: "plain",
  },
  arcee: { architecture: "arcee", feed: "plain" },
} satisfies Record<string, Row>;

export type FamilyName = keyof typeof ROWS;

/** The recipes by name. Seeds are their places, counted from 41. */
export const FAMILIES = Object.fromEntries(
  Object.entries(ROWS as Record<string, Row>).map(([name, { weightsOf = name, ...row }]) => [
    name,
    {
      ...PLAIN,
      gelu: false,
      notByLlamaCpp: undefined,
      recorded: {},
      options: {},
      seed: 41 + Object.keys(ROWS).indexOf(weightsOf),
      ...row,
    },
  ]),
) as Readonly<Record<FamilyName, Family>>;

export const FAMILY_NAMES = Object.keys(ROWS) as FamilyName[];
