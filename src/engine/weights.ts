// Every tensor of a model, declared once: its name in the file, its shape as a function of the configuration, whether
// it may be missing. Loading is looking things up in this table; what the table does not know is refused.

import type { RopeDivisors } from "../context/rope-scaling.ts";
import type { Device } from "../kernels/device.ts";
import { F32 } from "../kernels/formats/f32.ts";
import type { WeightFormat } from "../kernels/formats/format.ts";
import { FORMATS } from "../kernels/formats/index.ts";
import { createWeights, Uploader, type Weights, weightBytes } from "../kernels/tensor.ts";
import { type ModelConfig, UnsupportedError } from "./config.ts";
import { GgufError, type GgufFile, type TensorInfo } from "./gguf/gguf.ts";

/** A tensor as the table declares it: [n, k], or [k] where it is a vector. */
interface Declaration {
  readonly name: string;
  readonly shape: readonly [number, number] | readonly [number];
  readonly required: boolean;
}

/** The weights of a layer, under GGUF's own names. */
export interface LayerWeights {
  readonly attnNorm: Weights; // [D]
  readonly attnQ: Weights; // [H E, D]
  readonly attnQBias: Weights | undefined;
  readonly attnQNorm: Weights | undefined; // [E]
  readonly attnK: Weights; // [G E, D]
  readonly attnKBias: Weights | undefined;
  readonly attnKNorm: Weights | undefined; // [E]
  readonly attnV: Weights; // [G E, D]
  readonly attnVBias: Weights | undefined;
  readonly attnOutput: Weights; // [D, H E]
  readonly attnOutputBias: Weights | undefined;
  readonly ffnNorm: Weights; // [D]
  readonly ffnGate: Weights; // [F, D]
  readonly ffnGateBias: Weights | undefined;
  readonly ffnUp: Weights; // [F, D]
  readonly ffnUpBias: Weights | undefined;
  readonly ffnDown: Weights; // [D, F]
  readonly ffnDownBias: Weights | undefined;
}

export interface ModelWeights {
  readonly tokenEmbd: Weights; // [V, D]
  readonly layers: readonly LayerWeights[];
  readonly outputNorm: Weights; // [D]
  /** [V, D]: the embedding itself where the file has no output of its own. */
  readonly output: Weights;
  readonly outputBias: Weights | undefined; // [V]
  /** Bytes on the GPU. */
  readonly bytes: number;
}

/** The tensor of a layer for each field of `LayerWeights`. */
function layerTable(
  config: ModelConfig,
): Record<keyof LayerWeights, Omit<Declaration, "name"> & { suffix: string }> {
  const { width: D, heads: H, kvHeads: G, headWidth: E, feedForward: F, headNorms } = config;
  const matrix = (suffix: string, n: number, k: number) =>
    ({ suffix: `${suffix}.weight`, shape: [n, k], required: true }) as const;
  const vector = (suffix: string, k: number, required: boolean) =>
    ({ suffix, shape: [k], required }) as const;
  return {
    attnNorm: vector("attn_norm.weight", D, true),
    attnQ: matrix("attn_q", H * E, D),
    attnQBias: vector("attn_q.bias", H * E, false),
    attnQNorm: vector("attn_q_norm.weight", E, headNorms),
    attnK: matrix("attn_k", G * E, D),
    attnKBias: vector("attn_k.bias", G * E, false),
    attnKNorm: vector("attn_k_norm.weight", E, headNorms),
    attnV: matrix("attn_v", G * E, D),
    attnVBias: vector("attn_v.bias", G * E, false),
    attnOutput: matrix("attn_output", D, H * E),
    attnOutputBias: vector("attn_output.bias", D, false),
    ffnNorm: vector("ffn_norm.weight", D, true),
    ffnGate: matrix("ffn_gate", F, D),
    ffnGateBias: vector("ffn_gate.bias", F, false),
    ffnUp: matrix("ffn_up", F, D),
    ffnUpBias: vector("ffn_up.bias", F, false),
    ffnDown: matrix("ffn_down", D, F),
    ffnDownBias: vector("ffn_down.bias", D, false),
  };
}

/** Divisors of the rotary frequencies: Llama 3.1's, and LongRoPE's two. */
const ROPE_TENSORS = [
  "rope_freqs.weight",
  "rope_factors_short.weight",
  "rope_factors_long.weight",
] as const;

/** All tensors that a model of this configuration may have. */
export function declareTensors(config: ModelConfig): Declaration[] {
  const { width: D, vocabulary: V, headWidth: E, layers } = config;
  const table = Object.values(layerTable(config)).filter(
    ({ suffix }) => config.headNorms || !/_[qk]_norm/.test(suffix),
  );
  return [
    { name: "token_embd.weight", shape: [V, D], required: true },
    ...Array.from({ length: layers }, (_, layer) =>
      table.map(({ suffix, ...rest }) => ({ name: `blk.${layer}.${suffix}`, ...rest })),
    ).flat(),
    { name: "output_norm.weight", shape: [D], required: true },
    { name: "output.weight", shape: [V, D], required: false },
    { name: "output.bias", shape: [V], required: false },
    ...ROPE_TENSORS.map((name) => ({ name, shape: [E / 2] as const, required: false })),
  ];
}

/** Checks that a file has the tensors of its configuration, in shapes and formats that the kernels read. */
export function checkTensors(file: GgufFile, config: ModelConfig): void {
  const declared = new Map(declareTensors(config).map((tensor) => [tensor.name, tensor]));
  for (const { name, shape, required } of declared.values()) {
    const tensor = file.tensors.get(name);
    if (!tensor) {
      if (!required) continue;
      throw missing(file, name);
    }
    formatOf(file, tensor);
    const expected = shape.toReversed();
    const found =
      tensor.shape.length === 1 && expected.length === 2 ? [...tensor.shape, 1] : tensor.shape;
    if (expected.length !== found.length || expected.some((size, i) => size !== found[i])) {
      throw new GgufError({
        file: file.name,
        expected: `tensor ${name} of shape [${expected.join(", ")}]`,
        found: `[${tensor.shape.join(", ")}]`,
      });
    }
  }
  for (const name of file.tensors.keys()) {
    if (!declared.has(name)) {
      throw new UnsupportedError(
        `${file.name}: tensor ${name} is none that a ${config.architecture} model uses here.`,
      );
    }
  }
}

/** Bytes that the weights of a file take on the GPU, by tensor name: from its header alone. */
export function gpuBytes(file: GgufFile): Map<string, number> {
  return new Map(
    [...file.tensors.values()]
      .filter(({ name }) => !(ROPE_TENSORS as readonly string[]).includes(name))
      .map((tensor) => {
        const { k, n } = matrixShape(tensor);
        const format = n === 1 ? F32 : formatOf(file, tensor);
        return [tensor.name, weightBytes(format, n, k)];
      }),
  );
}

/** Allocates every tensor of a checked file. Their data comes with `uploadAll`. */
export async function allocateWeights(
  device: Device,
  file: GgufFile,
  config: ModelConfig,
): Promise<ModelWeights> {
  let bytes = 0;
  const optional = async (name: string): Promise<Weights | undefined> => {
    const tensor = file.tensors.get(name);
    if (!tensor) return undefined;
    const { n, k } = matrixShape(tensor);
    const format = n === 1 ? F32 : formatOf(file, tensor);
    const weights = await createWeights(device, name, format, n, k);
    bytes += weights.bytes;
    return weights;
  };
  const required = async (name: string): Promise<Weights> => {
    const weights = await optional(name);
    if (!weights) throw missing(file, name);
    return weights;
  };

  const tokenEmbd = await required("token_embd.weight");
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < config.layers; layer++) {
    const entries: [string, Weights | undefined][] = [];
    for (const [field, { suffix }] of Object.entries(layerTable(config))) {
      entries.push([field, await optional(`blk.${layer}.${suffix}`)]);
    }
    // checkTensors has made sure that the required ones are there.
    layers.push(Object.fromEntries(entries) as unknown as LayerWeights);
  }
  const outputNorm = await required("output_norm.weight");
  const output = (await optional("output.weight")) ?? tokenEmbd;
  const outputBias = await optional("output.bias");
  return { tokenEmbd, layers, outputNorm, output, outputBias, bytes };
}

/** Uploads the data of every tensor. `onProgress` gets the bytes of the file read so far and in all. */
export async function uploadAll(
  device: Device,
  file: GgufFile,
  model: ModelWeights,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<void> {
  const { tokenEmbd, layers, outputNorm, output, outputBias } = model;
  const all = new Set(
    [
      tokenEmbd,
      ...layers.flatMap((layer) => Object.values(layer)),
      outputNorm,
      output,
      outputBias,
    ].filter((weights): weights is Weights => weights !== undefined),
  );
  const tensors = [...all].map((weights) => ({
    weights,
    tensor: file.tensors.get(weights.label)!,
  }));
  const total = tensors.reduce((sum, { tensor }) => sum + tensor.bytes, 0);
  let done = 0;
  const advance = (count: number) => {
    done += count;
    onProgress(done, total);
  };
  const uploader = new Uploader(device);
  for (const { weights, tensor } of tensors) {
    if (weights.n > 1) {
      const read = (at: number, into: Uint8Array) => tensor.source.read(tensor.offset + at, into);
      await uploader.upload(weights, read, advance);
    } else {
      // Vectors (norms, biases) are few and small: whatever their format, the kernels read f32.
      const bytes = new Uint8Array((await readValues(file, tensor)).buffer);
      await uploader.upload(weights, async (at, into) => {
        into.set(bytes.subarray(at, at + into.length));
      });
      advance(tensor.bytes);
    }
  }
  await uploader.finish();
}

/** Divisors of the rotary frequencies, [E/2] each, where the file has them. */
export async function readRopeDivisors(file: GgufFile, config: ModelConfig): Promise<RopeDivisors> {
  const [always, short, long] = await Promise.all(
    ROPE_TENSORS.map((name) => readDivisors(file, name)),
  );
  return { always, short, long, attentionFactor: config.rope.attentionFactor };
}

async function readDivisors(file: GgufFile, name: string): Promise<Float32Array | undefined> {
  const tensor = file.tensors.get(name);
  if (!tensor) return undefined;
  const divisors = await readValues(file, tensor);
  const bad = divisors.findIndex((value) => !(value > 0 && Number.isFinite(value)));
  if (bad >= 0) {
    throw new GgufError({
      file: file.name,
      expected: `${tensor.name} to hold finite positive divisors`,
      found: `${divisors[bad]} at ${bad}`,
    });
  }
  return divisors;
}

/** The numbers of a small tensor, decoded on the host. */
async function readValues(file: GgufFile, tensor: TensorInfo): Promise<Float32Array> {
  const bytes = new Uint8Array(tensor.bytes);
  await tensor.source.read(tensor.offset, bytes);
  const values = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1));
  formatOf(file, tensor).decode(bytes, values);
  return values;
}

function matrixShape({ shape }: TensorInfo): { n: number; k: number } {
  return { k: shape[0] ?? 1, n: shape[1] ?? 1 };
}

function formatOf(file: GgufFile, { name, type }: TensorInfo): WeightFormat {
  const format = FORMATS.get(type);
  if (!format) {
    const supported = [...FORMATS.keys()].join(", ");
    throw new UnsupportedError(
      `${file.name}: tensor ${name} has the unsupported type ${type}; supported are ${supported}.`,
    );
  }
  return format;
}

function missing(file: GgufFile, name: string): GgufError {
  return new GgufError({ file: file.name, expected: `a tensor named ${name}`, found: "none" });
}
