// Metadata becomes a frozen, total configuration here and nowhere else: no other file sees a string key. A field that
// changes the result is honoured, or the file is refused with the field's name.

import { BASES, MOST_FACTOR, type RopeScaling } from "../../context/positions/rope-scaling.ts";
import type { Pooling } from "../../context/text/embedder.ts";
import { UserError } from "../../errors.ts";
import type { GgufFile } from "../gguf/gguf.ts";
import { Metadata } from "../gguf/metadata.ts";

/** The model, or a setting of it, is none that dawnstream runs. */
export class UnsupportedError extends UserError {
  override readonly name = "UnsupportedError";
}

/** What distinguishes the architectures: everything else is the one Llama graph. */
export interface Architecture {
  /** Numbers of a head that rotate together: neighbours (2i, 2i + 1) or halves (i, i + E/2). */
  readonly pairs: "neighbours" | "halves";
  /** RMSNorm over every head of queries and keys before the rotation. */
  readonly headNorms: boolean;
}

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  // Llama 1 to 3.2, TinyLlama, SmolLM, Mistral: their converter permuted the rows of Q and K to neighbours.
  llama: { pairs: "neighbours", headNorms: false },
  qwen2: { pairs: "halves", headNorms: false },
  qwen3: { pairs: "halves", headNorms: true },
};

export interface ModelConfig extends Architecture {
  readonly architecture: string;
  readonly name: string;
  /** L */
  readonly layers: number;
  /** D */
  readonly width: number;
  /** H: query heads */
  readonly heads: number;
  /** G: key/value heads */
  readonly kvHeads: number;
  /** E */
  readonly headWidth: number;
  /** F */
  readonly feedForward: number;
  /** V */
  readonly vocabulary: number;
  /** The longest text that the model was trained for, in tokens. */
  readonly trainedContext: number;
  readonly normEpsilon: number;
  /** What scores are multiplied by: 1 / sqrt(E), unless the file says otherwise. */
  readonly attentionScale: number;
  /** Tokens that a query sees, itself included, where the model was trained with a sliding window. */
  readonly slidingWindow: number | undefined;
  /** How hidden states become the vector of a text, where the file says so. */
  readonly pooling: Pooling | "none" | undefined;
  readonly rope: {
    readonly base: number;
    readonly scaling: RopeScaling;
    /** The trained length before the file's own scaling. */
    readonly originalContext: number;
    /** What LongRoPE stretches queries and keys by. */
    readonly attentionFactor: number;
  };
}

/** Keys that change the result and are not built yet: absent, or of a value that changes nothing, or the file is refused. */
const NEUTRAL: Readonly<Record<string, readonly number[]>> = {
  attn_logit_softcapping: [0],
  final_logit_softcapping: [0],
  expert_count: [0],
  logit_scale: [0, 1],
  residual_scale: [0, 1],
  embedding_scale: [0, 1],
  "attention.clamp_kqv": [0],
  "attention.sliding_window_pattern": [0],
  "attention.max_alibi_bias": [0],
  "attention.temperature_scale": [0],
  "attention.output_scale": [0, 1],
  "attention.shared_kv_layers": [0],
  use_parallel_residual: [0],
  rescale_every_n_layers: [0],
  nextn_predict_layers: [0],
  "rope.scaling.yarn_log_multiplier": [0],
  "rope.scaling.alpha": [0, 1],
  "rope.scaling.yarn_attn_factor": [1],
  "rope.scaling.yarn_ext_factor": [1, -1], // -1: as the kind of scaling has it
};

/** What numbers of `pooling_type` mean; llama.cpp's mean takes special tokens in. */
const POOLING_TYPES = ["none", "mean-all", "cls", "last"] as const;

/** Reads the configuration of a model. Throws `GgufError` for what is malformed, `UnsupportedError` for the rest. */
export function readConfig(file: GgufFile): ModelConfig {
  const metadata = new Metadata(file);
  const architecture = metadata.string("general.architecture");
  const traits = Object.hasOwn(ARCHITECTURES, architecture) && ARCHITECTURES[architecture];
  if (!traits) {
    const supported = Object.keys(ARCHITECTURES).join(", ");
    throw new UnsupportedError(
      `${file.name}: unsupported architecture "${architecture}"; supported are ${supported}.`,
    );
  }
  const key = (name: string) => `${architecture}.${name}`;
  const refuse = (what: string): never => {
    throw new UnsupportedError(`${file.name}: ${what}`);
  };
  const positive = (name: string, value: number): number =>
    value > 0 ? value : refuse(`${key(name)} must be positive, found ${value}.`);
  /** Not every number makes sense, and some that do not would fail in the kernels only. */
  const between = (name: string, value: number, least: number, most: number): number =>
    value >= least && value <= most
      ? value
      : refuse(`${key(name)} must be from ${least} to ${most}, found ${value}.`);
  const count = (name: string, absent?: number): number =>
    positive(name, metadata.integer(key(name), absent));

  const layers = count("block_count");
  if (layers > 512) refuse(`${key("block_count")} is ${layers}; at most 512 layers are supported.`);
  /** A number that may be given for each layer: all the same, or refused. */
  const uniform = (name: string, absent?: number): number => {
    const each = new Set(
      metadata.integerPerLayer(key(name), layers, absent === undefined ? undefined : [absent]),
    );
    if (each.size > 1) refuse(`${key(name)} differs from layer to layer, which is not supported.`);
    return positive(name, [...each][0]!);
  };

  const width = count("embedding_length");
  const heads = uniform("attention.head_count");
  const kvHeads = uniform("attention.head_count_kv", heads);
  if (heads % kvHeads !== 0) {
    refuse(`${heads} query heads cannot share ${kvHeads} key/value heads evenly.`);
  }
  if (width % heads !== 0 && !metadata.has(key("attention.key_length"))) {
    refuse(`an embedding of ${width} does not divide into ${heads} heads.`);
  }
  const headWidth = count("attention.key_length", width / heads);
  const valueWidth = count("attention.value_length", headWidth);
  if (valueWidth !== headWidth) {
    refuse(`values of ${valueWidth} beside keys of ${headWidth} are not supported.`);
  }
  if (headWidth % 8 !== 0 || headWidth > 256) {
    refuse(`a head width of ${headWidth} is not supported: a multiple of 8 up to 256 is.`);
  }
  const rotated = count("rope.dimension_count", headWidth);
  if (rotated !== headWidth) {
    refuse(`rotating ${rotated} of the ${headWidth} numbers of a head is not supported.`);
  }
  const feedForward = uniform("feed_forward_length");
  if (width % 4 !== 0 || feedForward % 4 !== 0) {
    refuse(`widths must be multiples of 4, found ${width} and ${feedForward}.`);
  }
  for (const [name, neutral] of Object.entries(NEUTRAL)) {
    if (!metadata.has(key(name))) continue;
    const value = file.metadata.get(key(name));
    if (!neutral.includes(Number(value)))
      refuse(`${key(name)} (${String(value)}) is not supported.`);
  }
  if (!metadata.boolean(key("attention.causal"), true)) refuse("attention must be causal.");

  const readPooling = () => {
    const type = metadata.integer(key("pooling_type"));
    const pooling = POOLING_TYPES[type];
    if (pooling) return pooling;
    const what = type === 4 ? "4 (rank)" : type;
    return refuse(
      `${key("pooling_type")} ${what} is not supported: 0 (none), 1 (mean), 2 (cls) and 3 (last) are.`,
    );
  };

  const trainedContext = count("context_length");
  const scaling = readScaling(file.name, metadata, key);
  const stretch = "rope.scaling.attn_factor";
  const attentionFactor = between(stretch, metadata.number(key(stretch), 1), 0.01, 100);
  if (attentionFactor !== 1 && scaling.kind !== "longrope")
    refuse(`${key(stretch)} goes with longrope only.`);
  const slidingWindow = metadata.integer(key("attention.sliding_window"), 0);
  const epsilon = "attention.layer_norm_rms_epsilon";
  const scale = metadata.number(key("attention.scale"), 0);
  return Object.freeze({
    ...traits,
    architecture,
    name: metadata.string("general.name", "") || "unnamed",
    layers,
    width,
    heads,
    kvHeads,
    headWidth,
    feedForward,
    vocabulary: vocabularySize(metadata, key("vocab_size")),
    trainedContext,
    normEpsilon: between(epsilon, metadata.number(key(epsilon)), 1e-30, 1),
    attentionScale:
      scale === 0 ? 1 / Math.sqrt(headWidth) : between("attention.scale", scale, 1e-6, 1e6),
    slidingWindow: slidingWindow > 0 ? slidingWindow : undefined,
    pooling: metadata.has(key("pooling_type")) ? readPooling() : undefined,
    rope: {
      base: between("rope.freq_base", metadata.number(key("rope.freq_base"), 10000), ...BASES),
      scaling,
      originalContext: count("rope.scaling.original_context_length", trainedContext),
      attentionFactor,
    },
  });
}

/** As many as the tokenizer has tokens; a file without one states the size. */
function vocabularySize(metadata: Metadata, key: string): number {
  const tokens = metadata.strings("tokenizer.ggml.tokens", []).length;
  return tokens > 0 ? tokens : metadata.integer(key);
}

function readScaling(file: string, metadata: Metadata, key: (name: string) => string): RopeScaling {
  const kind = metadata.string(key("rope.scaling.type"), "linear");
  // 0 is none; NaN must not pass for it.
  const given = [key("rope.scaling.factor"), key("rope.scale_linear")].map((name) =>
    metadata.number(name, 0),
  );
  const factor = given.find((value) => value !== 0) ?? 1;
  const original = metadata.integer(key("rope.scaling.original_context_length"), 0);
  if (!(factor >= 1 && factor <= MOST_FACTOR)) {
    throw new UnsupportedError(`${file}: a RoPE scaling factor of ${factor} is not supported.`);
  }
  switch (kind) {
    case "none":
    case "longrope":
      return { kind };
    case "linear":
      return factor === 1 ? { kind: "none" } : { kind, factor };
    case "yarn": {
      const betaFast = metadata.number(key("rope.scaling.yarn_beta_fast"), 32);
      const betaSlow = metadata.number(key("rope.scaling.yarn_beta_slow"), 1);
      if (!(Number.isFinite(betaFast) && betaFast > betaSlow && betaSlow > 0)) {
        throw new UnsupportedError(
          `${file}: YaRN betas ${betaFast}, ${betaSlow} are not supported.`,
        );
      }
      const betas = betaFast === 32 && betaSlow === 1 ? {} : { betaFast, betaSlow };
      return { kind, factor, ...(original > 0 ? { original } : {}), ...betas };
    }
    default:
      throw new UnsupportedError(
        `${file}: unsupported RoPE scaling "${kind}"; supported are none, linear, yarn, longrope.`,
      );
  }
}
