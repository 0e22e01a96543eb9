// Products with a matrix of packed weights: of one vector, or few on a card, by `matvec`, of more by
// `matmul`; and what is done to a vector on its way in and to the products on their way out. Not in
// this room: how weights are packed and placed (weights/), and how rows are normed or gated by
// themselves (rows/).

import type { Target } from "../adapter/target.ts";
import { lineOfGroups, matmulTiling, matvecTiling } from "../adapter/tiling.ts";
import { type Activations, UNIFORM_BYTES } from "../gpu/activations.ts";
import type { Dispatch } from "../gpu/commands.ts";
import { activationBinding, type Recipe } from "../gpu/dispatcher.ts";
import { KernelError } from "../gpu/kernel.ts";
import type { ActivationFunction } from "../reference.ts";
import { addBias, gatedActivation, rmsNorm } from "../rows/rows.ts";
import { decoderOf } from "../weights/formats/format.ts";
import { vectorBinding, type WeightPart, type Weights } from "../weights/tensor.ts";

/** RMSNorm of what is multiplied: on the way, or into activations for many tokens on a card. */
export interface InputNorm {
  readonly weight: Weights; // [k]
  readonly eps: number;
  /** [T, k]: the normed input of several tokens. */
  readonly into: Activations;
}

export interface Projection {
  readonly x: Activations; // [T, k]
  readonly weights: Weights; // [n, k]
  readonly y: Activations; // [T, n]
  readonly norm?: InputNorm | undefined;
  /** Adds to y instead of replacing it. */
  readonly add?: boolean;
  readonly bias?: Weights | undefined; // [n]
}

/**
 * y [T, n] = x [T, k] W^T, or y += x W^T if `add` is set; then + bias. With `norm`, x is normed
 * first.
 */
export function project(target: Target, projection: Projection): Dispatch[] {
  const { x, weights, y, norm, bias, add = false } = projection;
  if (x.width !== weights.k || y.width !== weights.n) {
    throw new KernelError(
      `${weights.label}: [${weights.n}, ${weights.k}] does not take ${x.width} numbers to ${y.width}`,
    );
  }
  const { dispatcher } = target;
  const output = plainOutput(y);
  const way = wayOf(target, weights);
  const own = way.norms ? norm : undefined;
  const from = way.norms ? x : (norm?.into ?? x);
  const products = weights.parts.map((part) =>
    way.shader === "matvec"
      ? matvec(target, { label: weights.label, part, x, norm, output, add })
      : matmul(target, { label: weights.label, part, x: from, y, norm: own, add }),
  );
  return [
    ...(norm && !own
      ? rmsNorm(target, { x, weight: norm.weight, y: norm.into, eps: norm.eps })
      : []),
    ...products.map((recipe) => dispatcher.dispatch(recipe)),
    ...(bias ? addBias(target, { bias, y }) : []),
  ];
}

/**
 * How a matrix meets its vectors: one, or few on a card, by `matvec`, more by `matmul`; and whether
 * they are normed on the way. On the threads of a CPU all are, so that a row comes to the same bits in
 * every step.
 */
function wayOf({ tokens }: Target, { parts }: Weights) {
  const isInterleaved = parts.every(({ placement }) => placement === "interleaved");
  const isMatvec = tokens === "one" || (tokens === "few" && !isInterleaved);
  const shader = isMatvec ? ("matvec" as const) : ("matmul" as const);
  return { shader, norms: isMatvec || isInterleaved };
}

export interface GatedProjection {
  readonly label: string;
  readonly x: Activations; // [T, k]
  readonly weights: Weights; // [2 F, k]: G above U
  readonly gateUp: Activations; // [T, 2, F]: both halves, if they are not computed at once
  readonly hidden: Activations; // [T, F]
  readonly activation: ActivationFunction;
  readonly norm?: InputNorm | undefined;
  readonly bias?: Weights | undefined; // [2 F]
}

/**
 * hidden [T, F] = activation(x G^T) (x U^T), for G above U in one matrix: at once for one token
 * or few, if they are one part.
 */
export function gate(target: Target, gated: GatedProjection): Dispatch[] {
  const { label, x, weights, gateUp, hidden, activation, norm, bias } = gated;
  const [part, ...more] = weights.parts;
  if (wayOf(target, weights).shader === "matvec" && part && more.length === 0 && !bias) {
    const output = gatedOutput(hidden, activation);
    const recipe = matvec(target, { label, part, x, norm, output, add: false });
    return [target.dispatcher.dispatch(recipe)];
  }
  const both = project(target, { x, weights, y: gateUp, norm, bias });
  return [...both, ...gatedActivation(target, { label, gateUp, hidden, activation })];
}

/** What becomes of the products of vectors: the shader's fragments, and what they need. */
interface VectorOutput {
  readonly fragments: readonly string[];
  /** The rows of a workgroup are a multiple of this. */
  readonly least: 8 | 16;
  readonly bindings: Readonly<Record<string, GPUBufferBinding>>;
}

function plainOutput(y: Activations): VectorOutput {
  return { fragments: ["matrix/outputs/plain"], least: 8, bindings: { y: activationBinding(y) } };
}

function gatedOutput(h: Activations, activation: ActivationFunction): VectorOutput {
  return {
    fragments: ["matrix/outputs/gated", `rows/${activation}`],
    least: 16,
    bindings: { h: activationBinding(h) },
  };
}

/** Where vectors are read from, and whether they are normed on the way. */
function vectorInput({ adapter, tokens }: Target, x: Activations, norm: InputNorm | undefined) {
  const place = (bytes: number, binding: GPUBufferBinding) =>
    adapter.uniformInputs && bytes <= UNIFORM_BYTES
      ? { memory: "uniform", room: "cpu", binding: { ...binding, size: UNIFORM_BYTES } }
      : { memory: "storage", room: "matrix", binding };
  const row = x.stride * 4;
  const vectors = place(tokens === "one" ? row : row * x.rows, activationBinding(x));
  const from = `${vectors.room}/inputs/${vectors.memory}`;
  if (!norm) {
    const fragments = [from, "matrix/inputs/plain"];
    return { fragments, overrides: {}, bindings: { x: vectors.binding } };
  }
  const weights = place(row, vectorBinding(norm.weight));
  return {
    fragments: [from, `${weights.room}/inputs/norm-${weights.memory}`, "matrix/inputs/normed"],
    overrides: { EPS: norm.eps },
    bindings: { x: vectors.binding, norm: weights.binding },
  };
}

/** One part of a matrix, and its input. */
interface PartProduct {
  readonly label: string;
  readonly part: WeightPart;
  readonly x: Activations;
  readonly add: boolean;
}

interface VectorProduct extends PartProduct {
  readonly norm: InputNorm | undefined;
  readonly output: VectorOutput;
}

/** A packed matrix times one vector or few, normed or not, and what becomes of the products. */
function matvec(target: Target, product: VectorProduct): Recipe {
  const { label, part, x, norm, output, add } = product;
  const { placement, rows } = part;
  const { adapter } = target;
  const tokens = target.tokens === "one" ? "one" : "few";
  const tiling = matvecTiling(adapter, { placement, n: rows, tokens, least: output.least });
  const { ROWS, TOKENS = 1 } = tiling.overrides;
  const input = vectorInput(target, x, norm);
  const [columns, lines] = lineOfGroups(adapter, Math.ceil(rows / ROWS));
  return {
    label,
    shader: tiling.shader,
    fragments: [
      ...decoderOf(part.format, placement),
      ...input.fragments,
      ...output.fragments,
      ...tiling.fragments,
    ],
    overrides: { ...tiling.overrides, ...input.overrides },
    bindings: { ...input.bindings, ...output.bindings, ...weightBindings(part, add) },
    grid: (step) => [columns, lines, tokens === "one" ? 1 : Math.ceil(step.tokens / TOKENS)],
  };
}

interface RowsProduct extends PartProduct {
  readonly y: Activations;
  /** Taken on the way: by the shaders for CPUs only. */
  readonly norm: InputNorm | undefined;
}

/** A packed matrix times the vectors of several tokens. */
function matmul(target: Target, { label, part, x, y, norm, add }: RowsProduct): Recipe {
  const { shader, fragments, overrides, grid } = matmulTiling(target.adapter);
  const input =
    shader === "cpu/matmul-cpu"
      ? vectorInput(target, x, norm)
      : { fragments: [], overrides: {}, bindings: { x: activationBinding(x) } };
  return {
    label,
    shader,
    fragments: [...decoderOf(part.format, part.placement), ...input.fragments, ...fragments],
    overrides: { ...overrides, ...input.overrides },
    bindings: { ...input.bindings, y: activationBinding(y), ...weightBindings(part, add) },
    grid: (step) => [...grid(part.rows, step.tokens), 1],
  };
}

/**
 * The planes of a matrix, and its sizes with the flag that says whether to add the product to y.
 */
function weightBindings({ bindings, adding }: WeightPart, add: boolean) {
  return add ? { ...bindings, matrix: adding } : bindings;
}
