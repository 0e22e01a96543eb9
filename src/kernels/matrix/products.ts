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
import { addBias, gatedActivation, type NormKind, normalize } from "../rows/rows.ts";
import { decoderOf } from "../weights/formats/format.ts";
import { vectorBinding, type WeightPart, type Weights } from "../weights/tensor.ts";

/**
 * The norm of what is multiplied: on the way, or into activations for many tokens on a card. A
 * LayerNorm always has a pass of its own, since its mean has to be known before.
 */
export interface InputNorm {
  /** Default: RMSNorm. */
  readonly kind?: NormKind;
  readonly weight: Weights; // [k], or [2, k] of a LayerNorm
  readonly eps: number;
  /** [T, k]: the normed input. */
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
  const { x, weights, y, bias, norm } = projection;
  if (norm?.kind === "layer") {
    return [...normed(target, x, norm), ...project(target, { ...projection, ...afterNorm(norm) })];
  }
  if (x.width !== weights.k || y.width !== weights.n) {
    throw new KernelError(
      `${weights.label}: [${weights.n}, ${weights.k}] does not take ${x.width} numbers to ${y.width}`,
    );
  }
  const products = waysOf(target, weights).flatMap((way) => productsBy(way, target, projection));
  return [...products, ...(bias ? addBias(target, { bias, y }) : [])];
}

/** The input of a product, normed in a pass of its own, */
function normed(target: Target, x: Activations, { into, ...norm }: InputNorm): Dispatch[] {
  return normalize(target, { x, y: into, ...norm });
}

/** and what the product reads then. */
function afterNorm({ into }: InputNorm) {
  return { x: into, norm: undefined };
}

/** The products of a projection, by one way. */
function productsBy(way: Way, target: Target, projection: Projection): Dispatch[] {
  const { x, weights, y, norm, add = false } = projection;
  const { label, parts } = weights;
  const own = way.norms ? norm : undefined;
  const from = way.norms ? x : (norm?.into ?? x);
  const recipes = parts.map((part) =>
    way.shader === "matvec"
      ? matvec(target, { label, part, x, norm, output: plainOutput(y), add, most: way.most })
      : matmul(target, { label, part, x: from, y, norm: own, add }),
  );
  const before = norm && !own ? normed(target, x, norm) : [];
  return within(way, [...before, ...recipes.map((recipe) => target.dispatcher.dispatch(recipe))]);
}

/** A shader that multiplies, for steps of `least` to `most` tokens. */
interface Way {
  readonly shader: "matvec" | "matmul";
  readonly least: number;
  readonly most: number;
  /** Whether vectors are normed on the way. */
  readonly norms: boolean;
}

/** Vectors that `matvec-cpu` multiplies sooner one by one than `matmul-cpu` does together. */
const PAIR = 2;

/**
 * How a matrix meets its vectors: one, two on a CPU, or few on a card, by `matvec`, more by `matmul`;
 * and whether they are normed on the way. On the threads of a CPU all are, so that a row comes to the
 * same bits in every step.
 */
function waysOf({ tokens }: Target, { parts }: Weights): Way[] {
  const isInterleaved = parts.every(({ placement }) => placement === "interleaved");
  const all = { least: 1, most: Number.POSITIVE_INFINITY };
  if (tokens === "one") return [{ ...all, shader: "matvec", norms: true }];
  if (tokens === "several") return [{ ...all, shader: "matmul", norms: isInterleaved }];
  if (!isInterleaved) return [{ ...all, shader: "matvec", norms: true }];
  return [
    { shader: "matvec", least: 1, most: PAIR, norms: true },
    { ...all, shader: "matmul", least: PAIR + 1, norms: true },
  ];
}

/** Dispatches that steps of fewer or of more tokens leave out. */
function within({ least, most }: Way, dispatches: readonly Dispatch[]): Dispatch[] {
  return dispatches.map((dispatch) => ({
    ...dispatch,
    grid: (step) => (step.tokens < least || step.tokens > most ? [0, 0, 0] : dispatch.grid(step)),
  }));
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
  if (norm?.kind === "layer") {
    return [...normed(target, x, norm), ...gate(target, { ...gated, ...afterNorm(norm) })];
  }
  const [part, ...more] = weights.parts;
  const projection = { x, weights, y: gateUp, norm, bias };
  const activated = () => gatedActivation(target, { label, gateUp, hidden, activation });
  if (!part || more.length > 0 || bias) return [...project(target, projection), ...activated()];
  return waysOf(target, weights).flatMap((way) => {
    if (way.shader === "matmul") {
      return [...productsBy(way, target, projection), ...within(way, activated())];
    }
    const output = gatedOutput(hidden, activation);
    const recipe = matvec(target, { label, part, x, norm, output, add: false, most: way.most });
    return within(way, [target.dispatcher.dispatch(recipe)]);
  });
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

/** Where vectors are read from, at most so many, and whether they are normed on the way. */
function vectorInput(
  { adapter }: Target,
  x: Activations,
  norm: InputNorm | undefined,
  most: number,
) {
  const place = (bytes: number, binding: GPUBufferBinding) =>
    adapter.uniformInputs && bytes <= UNIFORM_BYTES
      ? { memory: "uniform", room: "cpu", binding: { ...binding, size: UNIFORM_BYTES } }
      : { memory: "storage", room: "matrix", binding };
  const row = x.stride * 4;
  const vectors = place(row * Math.min(most, x.rows), activationBinding(x));
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
  /** The most vectors of a step. */
  readonly most: number;
  readonly norm: InputNorm | undefined;
  readonly output: VectorOutput;
}

/** A packed matrix times one vector or few, normed or not, and what becomes of the products. */
function matvec(target: Target, product: VectorProduct): Recipe {
  const { label, part, x, norm, output, add, most } = product;
  const { placement, rows } = part;
  const { adapter } = target;
  const tokens = target.tokens === "one" ? "one" : "few";
  const tiling = matvecTiling(adapter, { placement, n: rows, tokens, least: output.least });
  const { ROWS, TOKENS = 1 } = tiling.overrides;
  const input = vectorInput(target, x, norm, tokens === "one" ? 1 : most);
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
      ? vectorInput(target, x, norm, x.rows)
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
