// Declares every tensor of a model once: its name in the file, its shape as a function of the
// configuration, whether it may be missing. Loading looks tensors up in this table; a tensor that
// is not in it is refused.

import type { Placement } from "../../kernels/adapter/adapter.ts";
import type { Device } from "../../kernels/gpu/device.ts";
import type { NormKind } from "../../kernels/rows/rows.ts";
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

/** A tensor as the table declares it: a matrix [n, k], or a vector of any shape, kept as f32. */
interface Declaration {
  readonly name: string;
  readonly shape: readonly [number, number] | readonly [number];
  readonly required: boolean;
  readonly isVector: boolean;
}

/**
 * The weights of a layer. Tensors that are multiplied with the same x are stacked in one matrix.
 */
export interface LayerWeights {
  // A norm has its weights [D], and biases behind them if it is a LayerNorm: [2, D].
  readonly attnNorm: Weights | undefined;
  readonly attnQkv: Weights; // [(H + 2 G) E, D]
  readonly attnQkvBias: Weights | undefined; // [(H + 2 G) E]
  readonly attnQNorm: Weights | undefined; // [E], or of all heads [H E]
  readonly attnKNorm: Weights | undefined; // [E], or [G E]
  readonly attnRotatedNorms: Weights | undefined; // [2, E] of queries and keys, after the rotation
  readonly attnOutput: Weights; // [D, H E]
  readonly attnOutputBias: Weights | undefined;
  readonly attnPostNorm: Weights | undefined; // [D]
  readonly ffnNorm: Weights | undefined;
  readonly ffnGateUp: Weights; // [2 F, D], or [F, D] without a gate
  readonly ffnGateUpBias: Weights | undefined;
  readonly ffnDown: Weights; // [D, F]
  readonly ffnDownBias: Weights | undefined;
  readonly ffnPostNorm: Weights | undefined; // [D]
}

export interface ModelWeights {
  readonly tokenEmbd: Weights; // [V, D]
  readonly positionEmbd: Weights | undefined; // [the longest text, D]
  readonly tokenTypes: Weights | undefined; // [types, D], of which texts have the first
  readonly tokenEmbdNorm: Weights | undefined;
  readonly layers: readonly LayerWeights[];
  readonly outputNorm: Weights | undefined;
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
  { width: D, heads: H, kvHeads: G, headWidth: E, feedForward: F, norm: kind }: ModelConfig,
  { branchNorms, parallel, headNorms, normsRotated, gated }: LayerTraits,
  rowsOf: (name: string) => number,
): Record<keyof LayerWeights, Stack> {
  const norms = (condition: boolean, name: string, ...shape: Declaration["shape"]) =>
    condition ? normStack(kind, name, shape) : [];
  const isBefore = branchNorms === "before" || branchNorms === "both";
  const isBehind = branchNorms !== "before";
  const shapeOf = (heads: number): Declaration["shape"] =>
    headNorms === "own" ? [heads, E] : headNorms === "rows" ? [heads * E] : [E];
  // Several matrices may be one in the file, in the order in which they are stacked here.
  const qkv = rowsOf("attn_qkv")
    ? ([["attn_qkv", (H + 2 * G) * E]] as const)
    : ([
        ["attn_q", H * E],
        ["attn_k", G * E],
        ["attn_v", G * E],
      ] as const);
  const gateUp =
    gated && rowsOf("ffn_up") !== 2 * F
      ? ([
          ["ffn_gate", F],
          ["ffn_up", F],
        ] as const)
      : ([["ffn_up", gated ? 2 * F : F]] as const);
  return {
    attnNorm: norms(isBefore, "attn_norm", D),
    attnQkv: qkv.map(([name, n]) => matrix(name, n, D)),
    attnQkvBias: qkv.map(([name, n]) => bias(name, n)),
    attnQNorm: norms(headNorms !== undefined && !normsRotated, "attn_q_norm", ...shapeOf(H)),
    attnKNorm: norms(headNorms !== undefined && !normsRotated, "attn_k_norm", ...shapeOf(G)),
    attnRotatedNorms: normsRotated ? [vector("attn_q_norm", E), vector("attn_k_norm", E)] : [],
    attnOutput: [matrix("attn_output", D, H * E)],
    attnOutputBias: [bias("attn_output", D)],
    attnPostNorm: norms(isBehind, "post_attention_norm", D),
    ffnNorm: norms(isBefore && !parallel, "ffn_norm", D),
    ffnGateUp: gateUp.map(([name, n]) => matrix(name, n, D)),
    ffnGateUpBias: gateUp.map(([name, n]) => bias(name, n)),
    ffnDown: [matrix("ffn_down", D, F)],
    ffnDownBias: [bias("ffn_down", D)],
    ffnPostNorm: norms(isBehind, "post_ffw_norm", D),
  };
}

const matrix = (name: string, n: number, k: number): Declaration => ({
  name: `${name}.weight`,
  shape: [n, k],
  required: true,
  isVector: false,
});
const vector = (name: string, ...shape: Declaration["shape"]): Declaration => ({
  name: `${name}.weight`,
  shape,
  required: true,
  isVector: true,
});
const bias = (name: string, ...shape: Declaration["shape"]): Declaration => ({
  name: `${name}.bias`,
  shape,
  required: false,
  isVector: true,
});

/** The weights of a norm, and its biases if it is a LayerNorm: these are zero if the file has none. */
function normStack(kind: NormKind, name: string, shape: Declaration["shape"]): Stack {
  return kind === "rms" ? [vector(name, ...shape)] : [vector(name, ...shape), bias(name, ...shape)];
}

/** The stacks of a layer, with the whole names of its tensors. */
function layerStacks(
  file: GgufFile,
  config: ModelConfig,
  layer: number,
): Record<keyof LayerWeights, Stack> {
  const whole = (name: string) => {
    const [stem = "", ending] = name.split(".");
    return `blk.${layer}.${config.names[stem] ?? stem}.${ending}`;
  };
  const named = (stack: Stack): Stack =>
    stack.map(({ name, ...rest }) => ({ name: whole(name), ...rest }));
  const rowsOf = (name: string) => file.tensors.get(whole(`${name}.weight`))?.shape[1] ?? 0;
  const table = Object.entries(layerTable(config, config.traits[layer]!, rowsOf));
  return Object.fromEntries(table.map(([field, stack]) => [field, named(stack)])) as Record<
    keyof LayerWeights,
    Stack
  >;
}

type OtherField = Exclude<keyof ModelWeights, "layers" | "stacks" | "bytes">;

/** The stacks outside the layers: those in front of them, and those behind. */
function otherStacks(
  file: GgufFile,
  { width: D, vocabulary: V, trainedContext, norm, isEncoder, positions, traits }: ModelConfig,
): Record<OtherField, Stack> {
  const isOfSums = traits[0]?.branchNorms === "sum";
  const types = file.tensors.get("token_types.weight")?.shape[1] ?? 1;
  return {
    tokenEmbd: [matrix("token_embd", V, D)],
    positionEmbd: positions ? [matrix("position_embd", trainedContext, D)] : [],
    tokenTypes: isOfSums ? [{ ...vector("token_types", types, D), required: false }] : [],
    tokenEmbdNorm: isOfSums ? normStack(norm, "token_embd_norm", [D]) : [],
    outputNorm: isOfSums ? [] : normStack(norm, "output_norm", [D]),
    output: isEncoder ? [] : [{ ...matrix("output", V, D), required: false }],
    outputBias: isEncoder ? [] : [bias("output", V)],
  };
}

/** All tensors that a model of this configuration may have, as they are stacked on the GPU. */
function declareStacks(file: GgufFile, config: ModelConfig): Stack[] {
  const others = otherStacks(file, config);
  const layers = config.traits.flatMap((_, i) => Object.values(layerStacks(file, config, i)));
  return [...Object.values(others), ...layers];
}

/** All tensors that a file may have, including those that only the host reads. */
export function declareTensors(file: GgufFile, config: ModelConfig): Declaration[] {
  const read = ropeTensors(config).map((name) => ({
    name,
    shape: [config.rope.width / 2] as const,
    required: false,
    isVector: true,
  }));
  return [...declareStacks(file, config).flat(), ...read];
}

/** Whether a tensor that no model uses here may be left out: what it holds is known to change nothing. */
function isSkipped(name: string, { layers }: ModelConfig): boolean {
  const [, layer, rest] = /^blk\.(\d+)\.(.+)$/.exec(name) ?? [];
  if (layer === undefined) return false;
  // Blocks that predict several tokens; frequencies that old converters wrote.
  return Number(layer) >= layers || rest === "attn_rot_embd.weight" || rest === "attn_rot_embd";
}

/**
 * Checks that a file has the tensors of its configuration, in shapes and formats that the kernels
 * read.
 */
export function checkTensors(file: GgufFile, config: ModelConfig): void {
  const declared = new Map(declareTensors(file, config).map((tensor) => [tensor.name, tensor]));
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
    if (!declared.has(name) && !isSkipped(name, config)) {
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
  for (const stack of declareStacks(file, config)) {
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
    const k = stack.reduce((sum, tensor) => sum + numbersOf(tensor), 0);
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
  const others = otherStacks(file, config);
  // checkTensors has checked that the required ones exist.
  const tokenEmbd = (await allocate(others.tokenEmbd))!;
  const positionEmbd = await allocate(others.positionEmbd);
  const tokenTypes = await allocate(others.tokenTypes);
  const tokenEmbdNorm = await allocate(others.tokenEmbdNorm);
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < config.layers; layer++) {
    const entries: [string, Weights | undefined][] = [];
    for (const [field, stack] of Object.entries(layerStacks(file, config, layer))) {
      entries.push([field, await allocate(stack)]);
    }
    layers.push(Object.fromEntries(entries) as unknown as LayerWeights);
  }
  return {
    tokenEmbd,
    positionEmbd,
    tokenTypes,
    tokenEmbdNorm,
    layers,
    outputNorm: await allocate(others.outputNorm),
    output: (await allocate(others.output)) ?? tokenEmbd,
    outputBias: await allocate(others.outputBias),
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
  return stack[0]!.isVector;
}

function numbersOf({ shape: [n, k = 1] }: Declaration): number {
  return n * k;
}

/** Reads vectors one after the other, with zeros for one that is missing. */
async function readVectors(file: GgufFile, stack: Stack): Promise<Float32Array> {
  const values = new Float32Array(stack.reduce((sum, tensor) => sum + numbersOf(tensor), 0));
  let at = 0;
  for (const declaration of stack) {
    const tensor = file.tensors.get(declaration.name);
    if (tensor) values.set(await readValues(file, tensor), at);
    at += numbersOf(declaration);
  }
  return values;
}

function missing(file: GgufFile, name: string): GgufError {
  return new GgufError({ file: file.name, expected: `a tensor named ${name}`, found: "none" });
}
