// Declares every tensor of a model once: its name in the file, its shape as a function of the
// configuration, whether it may be missing. Loading looks tensors up in this table; a tensor that
// is not in it is refused.

import type { Placement } from "../../kernels/adapter/adapter.ts";
import type { Device } from "../../kernels/gpu/device.ts";
import { F32 } from "../../kernels/weights/formats/f32.ts";
import { type StackedTensor, stackBytes } from "../../kernels/weights/layout.ts";
import { createStack, type Weights } from "../../kernels/weights/tensor.ts";
import { Uploader } from "../../kernels/weights/upload.ts";
import { GgufError, type GgufFile, type TensorInfo } from "../gguf/gguf.ts";
import type { ModelConfig } from "./config.ts";
import { ContentHash } from "./fingerprint.ts";
import { UnsupportedError } from "./model-metadata.ts";
import { ropeTensors, whyNoDivisors } from "./rope-divisors.ts";
import { formatOf, readValues } from "./tensor-values.ts";
import type { LayerTraits } from "./traits.ts";

/** A tensor as the table declares it: [n, k], or [k] if it is a vector. */
interface Declaration {
  readonly name: string;
  readonly shape: readonly [number, number] | readonly [number];
  readonly required: boolean;
}

/**
 * The weights of a layer. Tensors that are multiplied with the same x are stacked in one matrix.
 */
export interface LayerWeights {
  readonly attnNorm: Weights; // [D]
  readonly attnQkv: Weights; // [(H + 2 G) E, D]
  readonly attnQkvBias: Weights | undefined; // [(H + 2 G) E]
  readonly attnQNorm: Weights | undefined; // [E]
  readonly attnKNorm: Weights | undefined; // [E]
  readonly attnOutput: Weights; // [D, H E]
  readonly attnOutputBias: Weights | undefined;
  readonly attnPostNorm: Weights | undefined; // [D]
  readonly ffnNorm: Weights; // [D]
  readonly ffnGateUp: Weights; // [2 F, D]
  readonly ffnGateUpBias: Weights | undefined;
  readonly ffnDown: Weights; // [D, F]
  readonly ffnDownBias: Weights | undefined;
  readonly ffnPostNorm: Weights | undefined; // [D]
}

export interface ModelWeights {
  readonly tokenEmbd: Weights; // [V, D]
  readonly layers: readonly LayerWeights[];
  readonly outputNorm: Weights; // [D]
  /** [V, D]: the embedding itself if the file has no output tensor. */
  readonly output: Weights;
  readonly outputBias: Weights | undefined; // [V]
  /** Each matrix and vector once, with the tensors that are stacked in it. */
  readonly stacks: ReadonlyMap<Weights, Stack>;
  /** Bytes on the GPU. */
  readonly bytes: number;
}

/** Tensors that are stacked to one matrix, or vectors to one vector. */
type Stack = readonly Declaration[];

/** The tensors of each field of `LayerWeights`, by the ends of their names. */
function layerTable(
  { width: D, heads: H, kvHeads: G, headWidth: E, feedForward: F }: ModelConfig,
  { headNorms, postNorms }: LayerTraits,
): Record<keyof LayerWeights, Stack> {
  const weight = (name: string, ...shape: Declaration["shape"]) =>
    ({ name: `${name}.weight`, shape, required: true }) as const;
  const bias = (name: string, k: number) =>
    ({ name: `${name}.bias`, shape: [k], required: false }) as const;
  return {
    attnNorm: [weight("attn_norm", D)],
    attnQkv: [weight("attn_q", H * E, D), weight("attn_k", G * E, D), weight("attn_v", G * E, D)],
    attnQkvBias: [bias("attn_q", H * E), bias("attn_k", G * E), bias("attn_v", G * E)],
    attnQNorm: headNorms ? [weight("attn_q_norm", E)] : [],
    attnKNorm: headNorms ? [weight("attn_k_norm", E)] : [],
    attnOutput: [weight("attn_output", D, H * E)],
    attnOutputBias: [bias("attn_output", D)],
    attnPostNorm: postNorms ? [weight("post_attention_norm", D)] : [],
    ffnNorm: [weight("ffn_norm", D)],
    ffnGateUp: [weight("ffn_gate", F, D), weight("ffn_up", F, D)],
    ffnGateUpBias: [bias("ffn_gate", F), bias("ffn_up", F)],
    ffnDown: [weight("ffn_down", D, F)],
    ffnDownBias: [bias("ffn_down", D)],
    ffnPostNorm: postNorms ? [weight("post_ffw_norm", D)] : [],
  };
}

/** The stacks of a layer, with the whole names of its tensors. */
function layerStacks(config: ModelConfig, layer: number): Record<keyof LayerWeights, Stack> {
  const named = (stack: Stack): Stack =>
    stack.map(({ name, ...rest }) => ({ name: `blk.${layer}.${name}`, ...rest }));
  const table = Object.entries(layerTable(config, config.traits[layer]!));
  return Object.fromEntries(table.map(([field, stack]) => [field, named(stack)])) as Record<
    keyof LayerWeights,
    Stack
  >;
}

/** All tensors that a model of this configuration may have, as they are stacked on the GPU. */
function declareStacks(config: ModelConfig): Stack[] {
  const { width: D, vocabulary: V, traits } = config;
  return [
    [{ name: "token_embd.weight", shape: [V, D], required: true }],
    ...traits.flatMap((_, layer) => Object.values(layerStacks(config, layer))),
    [{ name: "output_norm.weight", shape: [D], required: true }],
    [{ name: "output.weight", shape: [V, D], required: false }],
    [{ name: "output.bias", shape: [V], required: false }],
  ];
}

/** All tensors that a file may have, including those that only the host reads. */
export function declareTensors(config: ModelConfig): Declaration[] {
  const shape = [config.rope.width / 2] as const;
  const read = ropeTensors(config).map((name) => ({ name, shape, required: false }));
  return [...declareStacks(config).flat(), ...read];
}

/**
 * Checks that a file has the tensors of its configuration, in shapes and formats that the kernels
 * read.
 */
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
    const found = withoutTrailingOnes(tensor.shape);
    if (withoutTrailingOnes(expected).join() !== found.join()) {
      throw new GgufError({
        file: file.name,
        expected: `tensor ${name} of shape [${expected.join(", ")}]`,
        found: `[${tensor.shape.join(", ")}]`,
      });
    }
  }
  for (const name of file.tensors.keys()) {
    if (!declared.has(name)) {
      const why = whyNoDivisors(name, config.architecture);
      throw new UnsupportedError(
        `${file.name}: tensor ${name} is none that a ${config.architecture} model uses here` +
          `${why ? `: ${why}` : ""}.`,
      );
    }
  }
}

/**
 * [64, 512, 1, 1] is [64, 512], and [64, 1] is [64]: ggml always has four dimensions, and some
 * writers keep all of them.
 */
function withoutTrailingOnes(shape: readonly number[]): readonly number[] {
  return shape.slice(0, shape.findLastIndex((size) => size !== 1) + 1);
}

/** Bytes that the weights of a file take on the GPU, format by format, from its header alone. */
export function gpuBytesByFormat(file: GgufFile, config: ModelConfig): Record<string, number> {
  const all: Record<string, number> = {};
  for (const stack of declareStacks(config)) {
    const layout = layoutOf(file, stack);
    const parts = layout ? stackBytes(layout.tensors, layout.k) : [];
    for (const { format, bytes } of parts) all[format] = (all[format] ?? 0) + bytes;
  }
  return all;
}

/**
 * The layout of a stack on the GPU: [n, k] of each tensor; undefined if the file has none of them.
 */
function layoutOf(
  file: GgufFile,
  stack: Stack,
): { tensors: StackedTensor[]; k: number } | undefined {
  const present = presentOf(file, stack);
  const [first] = present;
  if (!first) return undefined;
  if (isVectors(stack)) {
    // Vectors (norms, biases) are few and small: they are converted to f32, and missing ones are
    // zero.
    const k = stack.reduce((sum, { shape }) => sum + shape[0], 0);
    return { tensors: [{ format: F32, n: 1 }], k };
  }
  const tensors = present.map((tensor) => ({
    format: formatOf(file, tensor),
    n: tensor.shape[1] ?? 1,
  }));
  return { tensors, k: first.shape[0]! };
}

/** Allocates every tensor of a checked file; `uploadAll` uploads their data. */
export async function allocateWeights(
  device: Device,
  file: GgufFile,
  config: ModelConfig,
  placement: Placement,
): Promise<ModelWeights> {
  const stacks = new Map<Weights, Stack>();
  const allocate = async (stack: Stack): Promise<Weights | undefined> => {
    const layout = layoutOf(file, stack);
    if (!layout) return undefined;
    const label = stack.map(({ name }) => name).join(" + ");
    const weights = await createStack(device, { label, ...layout, placement });
    stacks.set(weights, stack);
    return weights;
  };
  const [embedding, ...rest] = declareStacks(config);
  const [outputNorm, output, outputBias] = rest.slice(-3);
  // checkTensors has checked that the required ones exist.
  const tokenEmbd = (await allocate(embedding!))!;
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < config.layers; layer++) {
    const entries: [string, Weights | undefined][] = [];
    for (const [field, stack] of Object.entries(layerStacks(config, layer))) {
      entries.push([field, await allocate(stack)]);
    }
    layers.push(Object.fromEntries(entries) as unknown as LayerWeights);
  }
  return {
    tokenEmbd,
    layers,
    outputNorm: (await allocate(outputNorm!))!,
    output: (await allocate(output!)) ?? tokenEmbd,
    outputBias: await allocate(outputBias!),
    stacks,
    bytes: [...stacks.keys()].reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

/**
 * Uploads the data of every tensor, and returns a hash of it. `onProgress` gets the bytes of the
 * file read so far and in all.
 */
export async function uploadAll(
  device: Device,
  file: GgufFile,
  model: ModelWeights,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<string> {
  const all = [...model.stacks.values()].flatMap((stack) => presentOf(file, stack));
  const total = all.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  const advance = (count: number) => {
    done += count;
    onProgress(done, total);
  };
  const hash = new ContentHash();
  const uploader = new Uploader(device);
  for (const [weights, stack] of model.stacks) {
    if (isVectors(stack)) {
      const bytes = new Uint8Array((await readVectors(file, stack)).buffer);
      hash.update(bytes);
      await uploader.upload(weights, 0, 1, async (at, into) => {
        into.set(bytes.subarray(at, at + into.length));
      });
      for (const tensor of presentOf(file, stack)) advance(tensor.bytes);
      continue;
    }
    let firstRow = 0;
    for (const { source, offset, shape } of presentOf(file, stack)) {
      const [, n = 1] = shape;
      // Each byte is read once, front to back, even if the tensor is split into parts.
      const read = async (at: number, into: Uint8Array) => {
        await source.read(offset + at, into);
        hash.update(into);
      };
      await uploader.upload(weights, firstRow, n, read, advance);
      firstRow += n;
    }
  }
  await uploader.finish();
  return hash.digest();
}

/** The tensors of a stack that a file has. */
function presentOf(file: GgufFile, stack: Stack): TensorInfo[] {
  return stack.flatMap(({ name }) => file.tensors.get(name) ?? []);
}

function isVectors(stack: Stack): boolean {
  return stack[0]!.shape.length === 1;
}

/** Reads vectors one after the other, with zeros for one that is missing. */
async function readVectors(file: GgufFile, stack: Stack): Promise<Float32Array> {
  const values = new Float32Array(stack.reduce((sum, { shape }) => sum + shape[0], 0));
  let at = 0;
  for (const { name, shape } of stack) {
    const tensor = file.tensors.get(name);
    if (tensor) values.set(await readValues(file, tensor), at);
    at += shape[0];
  }
  return values;
}

function missing(file: GgufFile, name: string): GgufError {
  return new GgufError({ file: file.name, expected: `a tensor named ${name}`, found: "none" });
}
