// Reads metadata of the model as a whole into a frozen, complete configuration; traits.ts reads
// that of layers. No file outside this room sees a string key. A field that changes the result is
// honoured, or the file is refused with the field's name.

import type { Pooling } from "../../context/text/embedder.ts";
import type { NormKind } from "../../kernels/rows/rows.ts";
import type { GgufFile } from "../gguf/gguf.ts";
import { Metadata } from "../gguf/metadata.ts";
import { ADVICE, type Architecture, architectureOf } from "./architectures.ts";
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
  /** The kind of all norms. */
  readonly norm: NormKind;
  readonly normEpsilon: number;
  /** What the embeddings of tokens are multiplied by: 1 in most families. */
  readonly embeddingScale: number;
  /** What attention and feed-forward are multiplied by before they are added: 1 in most families. */
  readonly residualScale: number;
  /** What logits are multiplied by: 1 in most families. */
  readonly logitScale: number;
  /** c, if a logit z is kept within it: c tanh(z / c). */
  readonly logitCap: number | undefined;
  /** How hidden states are pooled to the vector of a text, if the file says so. */
  readonly pooling: Pooling | "none" | undefined;
  /** Whether tokens see those after them: texts become vectors, and none is generated. */
  readonly isEncoder: boolean;
  /** Whether positions are rows of a table, added to the embeddings. */
  readonly positions: boolean;
  /** The rotation that the file describes; options may ask for another scaling or base. */
  readonly rope: Rotation;
  /** What the file calls tensors of a layer, if it is not what other families do. */
  readonly names: Architecture["names"];
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
  const plain = new ModelMetadata(file, name);
  const architecture = architectureOf(file.name, name, () => ({
    ...readShape(plain),
    has: (tensor) => file.tensors.has(tensor),
    flag: (key) => (plain.has(key) ? plain.boolean(key) : undefined),
  }));
  const experts = plain.integer("expert_count", 0);
  if (experts > 0) {
    plain.refuse(`"${name}" with ${experts} experts (as Mixtral) cannot be run. ${ADVICE}`);
  }
  const shape = readShape(plain);
  const { defaults, ignored, norm } = architecture;
  const metadata = new ModelMetadata(file, name, defaults, ignored);
  refuseOthers(metadata, architecture);
  const trainedContext = metadata.count("context_length");
  const rope = readRotation(metadata, architecture, shape.headWidth, trainedContext);
  const traits = readTraits(metadata, architecture, shape, rope);
  const epsilon =
    norm === "rms" ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
  // The tokenizer's number of tokens; a file without a tokenizer states the size.
  const tokens = general.strings("tokenizer.ggml.tokens", []).length;
  return Object.freeze({
    architecture: name,
    name: general.string("general.name", "") || "unnamed",
    ...shape,
    vocabulary: tokens > 0 ? tokens : metadata.integer("vocab_size"),
    trainedContext,
    norm,
    normEpsilon: metadata.between(epsilon, metadata.number(epsilon), 1e-30, 1),
    embeddingScale: metadata.nonzero("embedding_scale", 1e-6, 1e6) ?? 1,
    residualScale: metadata.nonzero("residual_scale", 1e-6, 1e6) ?? 1,
    logitScale: readLogitScale(metadata, architecture),
    logitCap: metadata.nonzero("final_logit_softcapping", 1e-3, 1e6),
    pooling: readPooling(metadata),
    isEncoder: architecture.isEncoder,
    positions: architecture.positions,
    rope,
    names: architecture.names,
    traits,
  });
}

function readLogitScale(metadata: ModelMetadata, { logitScale }: Architecture): number {
  const scale = metadata.nonzero("logit_scale", 1e-6, 1e6) ?? 1;
  return logitScale === "times" ? scale : 1 / scale;
}

function readShape(metadata: ModelMetadata): Pick<ModelConfig, Size> {
  // Blocks for the prediction of several tokens are counted, but not run: they are the last ones.
  const blocks = metadata.count("block_count");
  const predicting = metadata.integer("nextn_predict_layers", 0);
  const layers = blocks - metadata.between("nextn_predict_layers", predicting, 0, 16);
  if (layers < 1 || layers > MAX_LAYERS) {
    const key = metadata.key("block_count");
    metadata.refuse(`${key} says ${layers} layers; 1 to ${MAX_LAYERS} are supported.`);
  }
  const width = metadata.count("embedding_length");
  const heads = metadata.uniform("attention.head_count", blocks);
  const kvHeads = metadata.uniform("attention.head_count_kv", blocks, heads);
  if (heads % kvHeads !== 0) {
    metadata.refuse(`${heads} query heads cannot share ${kvHeads} key/value heads evenly.`);
  }
  const headWidth = readHeadWidth(metadata, width, heads);
  const feedForward = metadata.uniform("feed_forward_length", blocks);
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
function refuseOthers(
  metadata: ModelMetadata,
  { defaults, slidingRotation, isEncoder }: Architecture,
): void {
  for (const [name, neutral] of Object.entries(NEUTRAL)) {
    if (Object.hasOwn(defaults, name)) continue;
    const value = metadata.value(name);
    if (value !== undefined && !neutral.includes(Number(value))) {
      metadata.refuse(`${metadata.key(name)} (${String(value)}) is not supported.`);
    }
  }
  const [base, own] = ["rope.freq_base", "rope.freq_base_swa"].map((key) =>
    metadata.number(key, 10000),
  );
  if (!slidingRotation && metadata.has("rope.freq_base_swa") && own !== base) {
    const key = metadata.key("rope.freq_base_swa");
    metadata.refuse(`${key} is not supported: the layers of this family share one rotation.`);
  }
  if (metadata.boolean("attention.causal", !isEncoder) === isEncoder) {
    const what = isEncoder
      ? "an encoder, whose attention cannot"
      : "a decoder, whose attention must";
    metadata.refuse(`this architecture is ${what} be causal.`);
  }
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
