// Writes a llama model of a given shape with seeded random weights: as large as a real one, in Q4_K_M's own mix of
// formats, and made in seconds without a download. What it says is noise, but how fast it says it, and whether two
// engines agree on the noise, is the same as for a trained model.
//
//     npx tsx bench/random-model.ts OUT.gguf --shape 134m|1b|8b|deep --seed 1
//
// The weights of a matrix have mean 0 and standard deviation 1/sqrt(k), so that activations neither grow nor fade from
// layer to layer; those of the output are four times larger, so that the logits spread as widely as a real model's.

import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { TENSOR_TYPES } from "../src/engine/gguf/format.ts";
import { UserError } from "../src/errors.ts";
import { floatToHalf } from "../src/kernels/weights/half.ts";
import { NewFile } from "../src/platform/write-file.ts";
import { ggufHeader, tensorBytes, type WrittenTensor } from "../test/support/gguf-writer.ts";
import { randomTokenizer } from "./random-tokenizer.ts";

interface Shape {
  readonly width: number; // D
  readonly layers: number; // L
  readonly heads: number; // H
  readonly kvHeads: number; // G
  readonly feedForward: number; // F
  readonly vocabulary: number; // V
  readonly context: number;
  readonly ropeBase: number;
  /** The embedding serves as the output, too. */
  readonly tied: boolean;
}

const small = { width: 768, layers: 12, heads: 12, kvHeads: 12, feedForward: 2048 };
const llama32 = { width: 2048, layers: 16, heads: 32, kvHeads: 8, feedForward: 8192 };
const llama31 = { width: 4096, layers: 32, heads: 32, kvHeads: 8, feedForward: 14336 };
const llama3 = { vocabulary: 128256, context: 131072, ropeBase: 500000 };

const deep = { width: 256, layers: 32, heads: 8, kvHeads: 8, feedForward: 512 };

export const SHAPES = {
  deep: { ...deep, vocabulary: 32000, context: 2048, ropeBase: 10000, tied: true }, // as many layers as an 8B model
  "134m": { ...small, vocabulary: 32000, context: 2048, ropeBase: 10000, tied: false },
  "1b": { ...llama32, ...llama3, tied: true }, // Llama 3.2 1B
  "8b": { ...llama31, ...llama3, tied: false }, // Llama 3.1 8B
} as const satisfies Record<string, Shape>;

export type ShapeName = keyof typeof SHAPES;

interface RandomTensor extends WrittenTensor {
  /** Standard deviation of the weights; of a norm's: about 1. */
  readonly spread: number;
}

/** Bytes in memory at a time while a tensor is written. */
const SLICE_BYTES = 8 << 20;

/** A shape by its name, or a `UserError`. */
export function shapeNamed(name: string): ShapeName {
  if (Object.hasOwn(SHAPES, name)) return name as ShapeName;
  throw new UserError(
    `Invalid --shape "${name}": expected one of ${Object.keys(SHAPES).join(", ")}.`,
  );
}

/** The path of a model that is kept between benches, written when it is not there yet. */
export async function benchModel(shape: ShapeName, seed = 1): Promise<string> {
  const path = join(import.meta.dirname, "models", `random-${shape}-${seed}.Q4_K_M.gguf`);
  if (!existsSync(path)) {
    console.error(`Writing ${path}`);
    mkdirSync(dirname(path), { recursive: true });
    await writeRandomModel(path, shape, seed);
  }
  return path;
}

/** Writes the file, in order, a slice at a time. */
export async function writeRandomModel(path: string, name: ShapeName, seed: number): Promise<void> {
  const shape: Shape = SHAPES[name];
  const tensors = randomTensors(shape);
  const header = ggufHeader({ metadata: metadata(`random ${name}`, shape), tensors });
  const random = new Random(seed);
  const file = await NewFile.create(path);
  let written = 0;
  const write = async (bytes: Uint8Array) => {
    await file.write(bytes);
    written += bytes.length;
  };
  try {
    await write(header.bytes);
    for (const [i, { type, shape, spread }] of tensors.entries()) {
      const bytes = tensorBytes(type, shape);
      const { fill, blockBytes } = fillerOf(type);
      await write(new Uint8Array(header.tensorOffsets[i]! - written)); // padding
      const step = Math.floor(SLICE_BYTES / blockBytes) * blockBytes;
      for (let at = 0; at < bytes; at += step) {
        const slice = new Uint8Array(Math.ceil(Math.min(step, bytes - at) / 4) * 4);
        fill(slice, spread, random);
        await write(slice.subarray(0, Math.min(step, bytes - at)));
      }
    }
    await write(new Uint8Array(header.fileBytes - written)); // the padding after the last tensor
  } catch (error) {
    await file.discard();
    throw error;
  }
  await file.commit();
}

function metadata(name: string, shape: Shape) {
  const { width, layers, heads, kvHeads, feedForward, vocabulary, context, ropeBase } = shape;
  return [
    ["general.architecture", "string", "llama"],
    ["general.name", "string", name],
    ["general.file_type", "u32", 15], // mostly Q4_K_M
    ["general.quantization_version", "u32", 2],
    ["llama.context_length", "u32", context],
    ["llama.embedding_length", "u32", width],
    ["llama.block_count", "u32", layers],
    ["llama.feed_forward_length", "u32", feedForward],
    ["llama.attention.head_count", "u32", heads],
    ["llama.attention.head_count_kv", "u32", kvHeads],
    ["llama.attention.layer_norm_rms_epsilon", "f32", 1e-5],
    ["llama.rope.dimension_count", "u32", width / heads],
    ["llama.rope.freq_base", "f32", ropeBase],
    ["llama.vocab_size", "u32", vocabulary],
    ...randomTokenizer(vocabulary),
  ] as const;
}

/** The tensors of a model in the types that llama.cpp's Q4_K_M gives them. */
function randomTensors(shape: Shape): RandomTensor[] {
  const { width: D, layers: L, heads: H, kvHeads: G, feedForward: F, vocabulary: V } = shape;
  const kv = (D / H) * G;
  const norm = (name: string): RandomTensor => ({ name, shape: [D], type: "F32", spread: 0.1 });
  const matrix = (name: string, n: number, k: number, type: "Q4_K" | "Q6_K", gain = 1) =>
    ({ name, shape: [k, n], type, spread: gain / Math.sqrt(k) }) satisfies RandomTensor;

  const eighth = Math.floor(L / 8);
  const tensors = [matrix("token_embd.weight", V, D, shape.tied ? "Q6_K" : "Q4_K", 4)];
  const all: RandomTensor[] = tensors;
  for (let i = 0; i < L; i++) {
    const precise = i < eighth || i >= Math.floor((7 * L) / 8) || (i - eighth) % 3 === 2;
    const mixed = precise ? "Q6_K" : "Q4_K";
    all.push(
      norm(`blk.${i}.attn_norm.weight`),
      matrix(`blk.${i}.attn_q.weight`, D, D, "Q4_K"),
      matrix(`blk.${i}.attn_k.weight`, kv, D, "Q4_K"),
      matrix(`blk.${i}.attn_v.weight`, kv, D, mixed),
      matrix(`blk.${i}.attn_output.weight`, D, D, "Q4_K"),
      norm(`blk.${i}.ffn_norm.weight`),
      matrix(`blk.${i}.ffn_gate.weight`, F, D, "Q4_K"),
      matrix(`blk.${i}.ffn_up.weight`, F, D, "Q4_K"),
      matrix(`blk.${i}.ffn_down.weight`, D, F, mixed),
    );
  }
  all.push(norm("output_norm.weight"));
  if (!shape.tied) all.push(matrix("output.weight", V, D, "Q6_K", 4));
  return all;
}

// ---- weights ----------------------------------------------------------------------------------

type Fill = (into: Uint8Array, spread: number, random: Random) => void;

function fillerOf(type: RandomTensor["type"]): { fill: Fill; blockBytes: number } {
  const fill = { F32: fillNorm, Q4_K: fillQ4K, Q6_K: fillQ6K }[type as string];
  if (!fill) throw new Error(`no random weights of type ${type}`);
  return { fill, blockBytes: TENSOR_TYPES[type].bytes };
}

/** Weights of a norm: around 1. */
const fillNorm: Fill = (into, spread, random) => {
  const values = new Float32Array(into.buffer);
  for (let i = 0; i < values.length; i++) {
    values[i] = 1 + spread * Math.sqrt(12) * (random.uint32() / 2 ** 32 - 0.5);
  }
};

/** Uniform quants q in 0..15; dmin = 7.5 d and min = scale make w = d scale (q - 7.5), of mean 0. */
const fillQ4K: Fill = (into, spread, random) => {
  random.fill(into);
  const d = spread / (MEAN_SCALE * deviation(16));
  const supers = [floatToHalf(d), floatToHalf(7.5 * d)] as const;
  for (let b = 0; b + 144 <= into.length; b += 144) {
    putHalf(into, b, supers[0]);
    putHalf(into, b + 2, supers[1]);
    for (let j = 0; j < 4; j++) {
      // Scale and minimum of chunk j lie whole in the lower six bits of bytes j and j + 4; those of chunk j + 4 have
      // their lower nibbles in byte j + 8 and their upper pairs in the upper bits of bytes j and j + 4.
      const first = 32 | (into[b + 4 + j]! & 31);
      const second = 32 | (into[b + 12 + j]! & 31);
      const packed = first | ((second >> 4) << 6);
      into[b + 4 + j] = packed;
      into[b + 8 + j] = packed;
      into[b + 12 + j] = (second & 15) * 17;
    }
  }
};

/** Uniform quants q in 0..63 and scales of either sign: w = d scale (q - 32), of mean 0. */
const fillQ6K: Fill = (into, spread, random) => {
  random.fill(into);
  const d = floatToHalf(spread / (MEAN_SCALE * deviation(64)));
  for (let b = 0; b + 210 <= into.length; b += 210) {
    for (let j = b + 192; j < b + 208; j++) {
      const scale = 32 | (into[j]! & 31);
      into[j] = into[j]! & 128 ? -scale : scale;
    }
    putHalf(into, b + 208, d);
  }
};

/** Of integer scales uniform in 32..63. */
const MEAN_SCALE = 47.5;

/** The standard deviation of uniform integers 0..n-1. */
function deviation(n: number): number {
  return Math.sqrt((n * n - 1) / 12);
}

function putHalf(into: Uint8Array, at: number, half: number): void {
  into[at] = half & 255;
  into[at + 1] = half >> 8;
}

/** xorshift32: fast and seeded. Marsaglia 2003. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed, 0x9e3779b9) | 1;
  }

  uint32(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }

  fill(into: Uint8Array): void {
    const words = new Uint32Array(into.buffer);
    for (let i = 0; i < words.length; i++) words[i] = this.uint32();
  }
}

// ---- command line -----------------------------------------------------------------------------

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      shape: { type: "string", default: "134m" },
      seed: { type: "string", default: "1" },
    },
  });
  const [out] = positionals;
  if (!out || !(values.shape in SHAPES)) {
    console.error(`usage: npx tsx bench/random-model.ts OUT.gguf --shape ${Object.keys(SHAPES)}`);
    process.exit(2);
  }
  await writeRandomModel(out, values.shape as ShapeName, Number(values.seed));
}
