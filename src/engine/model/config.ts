// Reads metadata of the model as a whole into a frozen, complete configuration; traits.ts reads
// that of layers. No file outside this room sees a string key. A field that changes the result is
// honoured, or the file is refused with the field's name.

import type { Pooling } from "../../context/text/embedder.ts";
import type { GgufFile } from "../gguf/gguf.ts";
import { Metadata } from "../gguf/metadata.ts";
import { architectureOf } from "./architectures.ts";
import { ModelMetadata } from "./model-metadata.ts";
import { type Rotation, readRotation } from "./rotation.ts";
import { type LayerTraits, readTraits } from "./traits.ts";

export interface ModelConfig {
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
  /** What the embeddings of tokens are multiplied by: 1 in most families. */
  readonly embeddingScale: number;
  /** c, if a logit z is kept within it: c tanh(z / c). */
  readonly logitCap: number | undefined;
  /** How hidden states are pooled to the vector of a text, if the file says so. */
  readonly pooling: Pooling | "none" | undefined;
  /** The file's rotation; options may override it. */
  readonly rope: Rotation;
  /** What each layer computes, [L]. */
  readonly traits: readonly LayerTraits[];
}

/**
 * Keys that are not implemented, or only for families that have them among their defaults, with the
 * values that change nothing: any other is refused.
 */
const NEUTRAL: Readonly<Record<string, readonly number[]>> = {
  attn_logit_softcapping: [0],
  final_logit_softcapping: [0],
  expert_count: [0],
  logit_scale: [0, 1],
  residual_scale: [0, 1],
  embedding_scale: [0, 1],
  "attention.clamp_kqv": [0],
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
  "rope.scaling.yarn_ext_factor": [1, -1], // -1: by the kind of scaling
};

/** The numbers of `pooling_type`; llama.cpp's mean includes special tokens. */
const POOLING_TYPES = ["none", "mean-all", "cls", "last"] as const;

const MAX_LAYERS = 512;

type Size = "layers" | "width" | "heads" | "kvHeads" | "headWidth" | "feedForward";

/** Reads the configuration of a model. Throws `GgufError` or `UnsupportedError`. */
export function readConfig(file: GgufFile): ModelConfig {
  const general = new Metadata(file);
  const name = general.string("general.architecture");
  const architecture = architectureOf(file.name, name);
  const shape = readShape(new ModelMetadata(file, name));
  const defaults = architecture.defaults(shape);
  const metadata = new ModelMetadata(file, name, defaults);
  refuseOthers(metadata, defaults);
  const trainedContext = metadata.count("context_length");
  const rope = readRotation(metadata, architecture, shape.headWidth, trainedContext);
  const traits = readTraits(metadata, architecture, shape, rope);
  const epsilon = "attention.layer_norm_rms_epsilon";
  // The tokenizer's number of tokens; a file without a tokenizer states the size.
  const tokens = general.strings("tokenizer.ggml.tokens", []).length;
  return Object.freeze({
    architecture: name,
    name: general.string("general.name", "") || "unnamed",
    ...shape,
    vocabulary: tokens > 0 ? tokens : metadata.integer("vocab_size"),
    trainedContext,
    normEpsilon: metadata.between(epsilon, metadata.number(epsilon), 1e-30, 1),
    embeddingScale: metadata.nonzero("embedding_scale", 1e-6, 1e6) ?? 1,
    logitCap: metadata.nonzero("final_logit_softcapping", 1e-3, 1e6),
    pooling: readPooling(metadata),
    rope,
    traits,
  });
}

function readShape(metadata: ModelMetadata): Pick<ModelConfig, Size> {
  const layers = metadata.count("block_count");
  if (layers > MAX_LAYERS) {
    const key = metadata.key("block_count");
    metadata.refuse(`${key} is ${layers}; at most ${MAX_LAYERS} layers are supported.`);
  }
  const width = metadata.count("embedding_length");
  const heads = metadata.uniform("attention.head_count", layers);
  const kvHeads = metadata.uniform("attention.head_count_kv", layers, heads);
  if (heads % kvHeads !== 0) {
    metadata.refuse(`${heads} query heads cannot share ${kvHeads} key/value heads evenly.`);
  }
  const headWidth = readHeadWidth(metadata, width, heads);
  const feedForward = metadata.uniform("feed_forward_length", layers);
  if (width % 4 !== 0 || feedForward % 4 !== 0) {
    metadata.refuse(`widths must be multiples of 4, found ${width} and ${feedForward}.`);
  }
  return { layers, width, heads, kvHeads, headWidth, feedForward };
}

function readHeadWidth(metadata: ModelMetadata, width: number, heads: number): number {
  if (width % heads !== 0 && !metadata.has("attention.key_length")) {
    metadata.refuse(`an embedding of ${width} does not divide into ${heads} heads.`);
  }
  const headWidth = metadata.count("attention.key_length", width / heads);
  const valueWidth = metadata.count("attention.value_length", headWidth);
  if (valueWidth !== headWidth) {
    metadata.refuse(`values of ${valueWidth} beside keys of ${headWidth} are not supported.`);
  }
  if (headWidth % 8 !== 0 || headWidth > 256) {
    metadata.refuse(`a head width of ${headWidth} is not supported: a multiple of 8 up to 256 is.`);
  }
  return headWidth;
}

/** Refuses keys that change the result but are in neither configuration nor traits. */
function refuseOthers(metadata: ModelMetadata, own: Readonly<Record<string, number>>): void {
  for (const [name, neutral] of Object.entries(NEUTRAL)) {
    if (Object.hasOwn(own, name)) continue;
    const value = metadata.value(name);
    if (value !== undefined && !neutral.includes(Number(value))) {
      metadata.refuse(`${metadata.key(name)} (${String(value)}) is not supported.`);
    }
  }
  if (!metadata.boolean("attention.causal", true)) metadata.refuse("attention must be causal.");
}

function readPooling(metadata: ModelMetadata): ModelConfig["pooling"] {
  if (!metadata.has("pooling_type")) return undefined;
  const type = metadata.integer("pooling_type");
  const pooling = POOLING_TYPES[type];
  if (pooling) return pooling;
  const what = type === 4 ? "4 (rank)" : type;
  return metadata.refuse(
    `${metadata.key("pooling_type")} ${what} is not supported: ` +
      "0 (none), 1 (mean), 2 (cls) and 3 (last) are.",
  );
}
