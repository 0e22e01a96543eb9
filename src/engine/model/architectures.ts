// The architectures that can be run: a row has what a family of models fixes but its files do not
// say, and the keys that not every family has. No other file of the engine names an architecture.

import type { ActivationFunction } from "../../kernels/reference.ts";
import type { NormKind } from "../../kernels/rows/rows.ts";
import { UnsupportedError } from "./model-metadata.ts";

/** Norms of queries and keys: of each head, of all heads at once, or of each by weights of its own. */
export type HeadNorms = "heads" | "rows" | "own";

export interface Architecture {
  /** Numbers of a head that rotate together: neighbours (2i, 2i + 1) or halves (i, i + R/2). */
  readonly pairs: "neighbours" | "halves";
  /** The kind of all norms. */
  readonly norm: NormKind;
  /**
   * Where a branch (attention, feed-forward) has norms: before it, behind it, before what it adds to
   * the stream, or both; or of the sum, which is the stream then (BERT).
   */
  readonly branchNorms: "before" | "behind" | "both" | "sum";
  /** Whether tokens see those after them: an encoder turns texts into vectors and generates none. */
  readonly isEncoder: boolean;
  /** Whether positions are rows of a table, added to the embeddings. */
  readonly positions: boolean;
  /** Whether the feed-forward reads what attention reads, instead of what attention has added to. */
  readonly parallel: boolean;
  readonly headNorms: HeadNorms | undefined;
  /** Whether these are taken after the rotation instead of before it. */
  readonly normsRotated: boolean;
  readonly activation: ActivationFunction;
  /** Whether the feed-forward is down(activation(gate x) * (up x)) instead of down(activation(up x)). */
  readonly gated: boolean;
  /** Layers that rotate, of those with a window of their own (`slides`) and those that see all. */
  readonly rotates: (layer: { readonly i: number; readonly slides: boolean }) => boolean;
  /**
   * Whether layers with a window of their own rotate without the file's scaling, and by the base
   * `rope.freq_base_swa` if the file has it.
   */
  readonly slidingRotation: boolean;
  /** Whether logits are multiplied by `logit_scale`, or divided by it. */
  readonly logitScale: "times" | "over";
  /** Tensors that the family's files call otherwise than others do. */
  readonly names: Readonly<Record<string, string>>;
  /** Keys that are ignored, since converters wrote values that the family does not follow. */
  readonly ignored: readonly string[];
  /**
   * Keys, without the architecture's name, whose values files may leave out: what these are then. A
   * key that is refused as not implemented is one that the family does have if it is here.
   */
  readonly defaults: Readonly<Record<string, number | string>>;
}

/** What a row may depend on. */
export interface FileFacts {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly headWidth: number;
  /** Whether the file has a tensor. */
  readonly has: (tensor: string) => boolean;
  /** The value of a key, without the architecture's name, that is true or false. */
  readonly flag: (key: string) => boolean | undefined;
}

type Row = Partial<Architecture>;

/** What most families do. */
const COMMON: Architecture = {
  pairs: "neighbours",
  norm: "rms",
  branchNorms: "before",
  isEncoder: false,
  positions: false,
  parallel: false,
  headNorms: undefined,
  normsRotated: false,
  activation: "silu",
  gated: true,
  rotates: () => true,
  slidingRotation: false,
  logitScale: "times",
  names: {},
  ignored: [],
  defaults: {},
};

const HALVES: Row = { pairs: "halves" };
/** Keys of Granite and MiniCPM that may be absent. */
const SCALES = { embedding_scale: 0, residual_scale: 0, logit_scale: 0 };

/** Scores of the largest model of a size, by its number of layers, are scaled by D/H: no key says so. */
const scoreScale = ({ layers, width, heads, headWidth }: FileFacts, largest: number) =>
  1 / Math.sqrt(layers === largest ? width / heads : headWidth);

const gemma = ({ width }: FileFacts): Row => ({
  ...HALVES,
  activation: "gelu",
  defaults: { embedding_scale: Math.sqrt(width) },
});

const gemma3 = (facts: FileFacts): Row => ({
  ...gemma(facts),
  branchNorms: "both",
  headNorms: "heads",
  slidingRotation: true,
  defaults: {
    ...gemma(facts).defaults,
    "attention.scale": scoreScale(facts, 62), // 27B
    "attention.sliding_window_pattern": 6,
    "rope.freq_base_swa": 10000,
    final_logit_softcapping: 0,
  },
});

const BERT: Row = {
  isEncoder: true,
  norm: "layer",
  branchNorms: "sum",
  names: { post_attention_norm: "attn_output_norm", post_ffw_norm: "layer_output_norm" },
};

/** Only layers with a window of their own know positions; a model without any rotates everywhere. */
const slidingOnly = ({ slides }: { readonly slides: boolean }) => slides;

const ARCHITECTURES: Readonly<Record<string, Row | ((facts: FileFacts) => Row)>> = {
  // Llama 1 to 3.2, TinyLlama, SmolLM, Mistral: the converter permuted Q and K to neighbours.
  llama: {},
  // Ministral 3, Devstral: queries grow with their position.
  mistral3: {
    defaults: { "attention.temperature_scale": 0, "rope.scaling.yarn_log_multiplier": 0 },
  },
  qwen2: HALVES,
  qwen3: { ...HALVES, headNorms: "heads" },
  // The text half of vision models: the three positions of M-RoPE are the text's.
  qwen2vl: HALVES,
  qwen3vl: { ...HALVES, headNorms: "heads" },
  gemma,
  gemma2: (facts) => ({
    ...gemma(facts),
    branchNorms: "both",
    defaults: {
      ...gemma(facts).defaults,
      "attention.scale": scoreScale(facts, 46), // 27B
      "attention.sliding_window": 4096,
      "attention.sliding_window_pattern": 2,
      attn_logit_softcapping: 50,
      final_logit_softcapping: 30,
    },
  }),
  gemma3,
  // Phi 3, 3.5, 4: files with tensors of LongRoPE do not name it.
  phi3: ({ has }) => ({
    ...HALVES,
    ignored: ["attention.sliding_window"],
    defaults: has("rope_factors_long.weight") ? { "rope.scaling.type": "longrope" } : {},
  }),
  phi2: { ...HALVES, norm: "layer", parallel: true, activation: "gelu", gated: false },
  granite: ({ flag }) => ({
    logitScale: "over",
    rotates: () => flag("rope.scaling.finetuned") ?? true,
    defaults: SCALES,
  }),
  minicpm: ({ layers, width }) => ({
    logitScale: "over",
    defaults: {
      embedding_scale: 12,
      residual_scale: 1.4 / Math.sqrt(layers),
      logit_scale: width / 256,
    },
  }),
  // Every fourth layer has no positions. Yang et al. 2025, arXiv:2501.18795
  smollm3: { rotates: ({ i }) => (i + 1) % 4 !== 0 },
  ernie4_5: {},
  internlm2: {},
  arcee: { activation: "relu2", gated: false },
  seed_oss: { ...HALVES, names: { ffn_norm: "post_attention_norm" } },
  // OLMo 2, and OLMo 3, whose layers slide.
  olmo2: {
    ...HALVES,
    branchNorms: "behind",
    headNorms: "rows",
    slidingRotation: true,
    defaults: { "attention.sliding_window_pattern": 4 },
  },
  exaone4: ({ layers }) => ({
    ...HALVES,
    branchNorms: "behind",
    headNorms: "heads",
    ...(layers === 64 // 32B
      ? {
          rotates: slidingOnly,
          defaults: { "attention.sliding_window": 4096, "attention.sliding_window_pattern": 4 },
        }
      : {}),
  }),
  "hunyuan-dense": { ...HALVES, headNorms: "heads", normsRotated: true },
  glm4: { branchNorms: "both" },
  "command-r": ({ has }) => ({
    norm: "layer",
    parallel: true,
    headNorms: has("blk.0.attn_q_norm.weight") ? "own" : undefined,
    defaults: { logit_scale: 0 },
  }),
  cohere2: {
    norm: "layer",
    parallel: true,
    rotates: slidingOnly,
    defaults: { logit_scale: 0, "attention.sliding_window_pattern": 4 },
  },
  starcoder2: { ...HALVES, norm: "layer", activation: "gelu", gated: false },
  stablelm: ({ has }) => ({
    ...HALVES,
    norm: "layer",
    parallel: !has("blk.0.ffn_norm.weight"),
    headNorms: has("blk.0.attn_q_norm.weight") ? "own" : undefined,
    ignored: ["use_parallel_residual"], // the tensors say it
  }),
  nemotron: { ...HALVES, norm: "layer", activation: "relu2", gated: false },
  "gemma-embedding": (facts) => ({ ...gemma3(facts), isEncoder: true }),
  // BERT, and what was made from it: BGE, MiniLM, mxbai, Arctic. Devlin et al. 2018, arXiv:1810.04805
  bert: { ...BERT, positions: true, rotates: () => false, activation: "gelu", gated: false },
  "nomic-bert": { ...BERT, ...HALVES },
};

/** Families that cannot be run, by what their names begin with: what these would need. */
const MISSING: readonly (readonly [prefix: string, family: string, needs: string])[] = [
  ["gemma4", "Gemma 4", "layers of different head widths that share caches"],
  ["gemma3n", "Gemma 3n", "several residual streams"],
  ["qwen35", "Qwen 3.5 and 3.6", "recurrent layers (the gated delta rule)"],
  ["qwen3next", "Qwen3-Next", "recurrent layers (the gated delta rule) and experts"],
  ["lfm2", "LFM2", "short convolutions"],
  ["gpt-oss", "gpt-oss", "experts and learned attention sinks"],
  ["llama4", "Llama 4", "experts and chunked attention"],
  ["deepseek", "DeepSeek", "multi-head latent attention and experts"],
  ["minicpm3", "MiniCPM 3", "multi-head latent attention"],
  ["mamba", "Mamba", "state-space layers"],
  ["falcon-h1", "Falcon-H1", "state-space layers"],
  ["jamba", "Jamba", "state-space layers"],
  ["granitehybrid", "Granite 4 H", "state-space layers"],
  ["nemotron_h", "Nemotron-H", "state-space layers"],
  ["rwkv", "RWKV", "layers without attention"],
  ["t5", "T5", "a decoder that reads an encoder"],
  ["clip", "mmproj, the vision half of a model", "images; the language half is another file"],
  ["chatglm", "GLM-4 as converted before 2025", "its layout of tensors"],
];

/** A model that runs nearly anywhere, for those who have one that does not. */
export const ADVICE = "Qwen3-0.6B, SmolLM2-135M and Llama-3.2-1B, for example, run.";

/** The row of an architecture. Throws an `UnsupportedError` if there is none. */
export function architectureOf(file: string, name: string, facts: () => FileFacts): Architecture {
  const row = Object.hasOwn(ARCHITECTURES, name) && ARCHITECTURES[name];
  if (row) return { ...COMMON, ...(typeof row === "function" ? row(facts()) : row) };
  throw new UnsupportedError(`${file}: ${whyNot(name)} ${ADVICE}`);
}

function whyNot(name: string): string {
  const known = MISSING.find(([prefix]) => name.startsWith(prefix));
  if (known) {
    const [, family, needs] = known;
    return `"${name}" (${family}) cannot be run: it needs ${needs}.`;
  }
  if (/moe$/.test(name)) return `"${name}" cannot be run: it needs experts.`;
  const supported = Object.keys(ARCHITECTURES).join(", ");
  return `unsupported architecture "${name}"; supported are ${supported}.`;
}
