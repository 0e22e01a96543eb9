// Operations on rows of activations: decode rows of the embedding table, norm, gate, scale and cap
// rows, add a bias or other rows. Not in this room: products with a matrix (matrix/), and operations on logits (choice/).

import type { Target } from "../adapter/target.ts";
import { reduction, rowGroups } from "../adapter/tiling.ts";
import type { Activations } from "../gpu/activations.ts";
import type { Dispatch } from "../gpu/commands.ts";
import { activationBinding, bufferBinding } from "../gpu/dispatcher.ts";
import type { ActivationFunction } from "../reference.ts";
import { decoderOf } from "../weights/formats/format.ts";
import { vectorBinding, type Weights } from "../weights/tensor.ts";

export interface Embedding {
  readonly tokens: GPUBuffer; // [T] ids, or CHOSEN and the place of a choice
  readonly choices: GPUBuffer; // [choices, 2] ids and log-probabilities: see choice/
  readonly table: Weights; // [V, D]
  readonly x: Activations; // [T, D]
  /** What rows are multiplied by; default 1. */
  readonly scale?: number;
  /** Adds to x instead of replacing it. */
  readonly add?: boolean;
}

/** x [T, D] = rows `tokens` [T] of the table [V, D], scaled, or x += them if `add` is set. */
export function embed(target: Target, embedding: Embedding): Dispatch[] {
  const { tokens, choices, table, x, scale: SCALE = 1, add = false } = embedding;
  const { lanes: LANES } = target.adapter;
  const columns = Math.ceil(x.stride / 32 / LANES);
  return table.parts.map((part) =>
    target.dispatcher.dispatch({
      label: table.label,
      shader: "rows/embed",
      fragments: decoderOf(part.format, part.placement),
      overrides: { SCALE, ADD: Number(add), LANES },
      bindings: {
        tokens: bufferBinding(tokens),
        choices: bufferBinding(choices),
        x: activationBinding(x),
        ...part.bindings,
      },
      grid: (step) => [columns, step.tokens, 1],
    }),
  );
}

/** RMSNorm, or LayerNorm. */
export type NormKind = "rms" | "layer";

export interface RowNorm {
  readonly x: Activations;
  /**
   * [D], or [parts, D] if the rows of a token have weights of their own; of a LayerNorm, followed by
   * as many biases. Undefined: no weights.
   */
  readonly weight: Weights | undefined;
  readonly y: Activations;
  readonly eps: number;
  /** Default: RMSNorm. */
  readonly kind?: NormKind;
  /** D. Default: that of the weights. */
  readonly width?: number;
  /** Numbers of a token before its rows; default 0. */
  readonly first?: number;
  /** Rows of a token. Default: as many as fill it. */
  readonly parts?: number;
  /** Adds to y instead of replacing it. */
  readonly add?: boolean;
}

/**
 * y [T, parts, D] = the norm of x [T, parts, D], or y += it if `add` is set: rows are whole tokens,
 * or heads of them.
 */
export function normalize(target: Target, norm: RowNorm): Dispatch[] {
  const { x, weight, y, eps, kind = "rms", first = 0, add = false } = norm;
  const count = weightsOf(weight, kind) ?? x.width;
  const { width: D = count, parts = x.width / D } = norm;
  const { lanes } = target.adapter;
  const weights = normWeights(weight, kind, D);
  const recipe = {
    label: weight?.label ?? x.label,
    shader: kind === "rms" ? "rows/rms-norm" : "rows/layer-norm",
    fragments: [reduction(target.adapter, lanes), ...weights.fragments],
    overrides: {
      D,
      FIRST: first,
      STRIDE: x.stride,
      EPS: eps,
      ADD: Number(add),
      LANES: lanes,
      ...weights.overrides,
    },
    bindings: { x: activationBinding(x), y: activationBinding(y), ...weights.bindings },
  };
  return [target.dispatcher.dispatch({ ...recipe, grid: (step) => [parts, step.tokens, 1] })];
}

/** How many weights a norm has, without biases. */
function weightsOf(weight: Weights | undefined, kind: NormKind): number | undefined {
  return weight && (kind === "layer" ? weight.k / 2 : weight.k);
}

/** How a norm reads its weights, and biases if it has any. */
function normWeights(weight: Weights | undefined, kind: NormKind, width: number) {
  const count = weightsOf(weight, kind);
  if (!weight || count === undefined) {
    return { fragments: ["rows/norms/bare"], overrides: {}, bindings: {} };
  }
  const PITCH = count === width ? 0 : width;
  return {
    fragments: [kind === "layer" ? "rows/norms/biased" : "rows/norms/weighted"],
    overrides: kind === "layer" ? { PITCH, BIASES: count } : { PITCH },
    bindings: { weight: vectorBinding(weight) },
  };
}

export interface Bias {
  readonly bias: Weights; // [N], whatever follows it
  readonly y: Activations; // [T, N]
}

/** y [T, N] += bias [N]. */
export function addBias(target: Target, { bias, y }: Bias): Dispatch[] {
  const { lanes: LANES } = target.adapter;
  const columns = Math.ceil(y.width / 4 / LANES);
  return [
    target.dispatcher.dispatch({
      label: bias.label,
      shader: "rows/add-bias",
      overrides: { N: y.width, STRIDE: y.stride, LANES },
      bindings: { bias: vectorBinding(bias), y: activationBinding(y) },
      grid: (step) => [columns, step.tokens, 1],
    }),
  ];
}

export interface RowMap {
  readonly label: string;
  readonly y: Activations; // [T, N]
}

/** y [T, N] = cap tanh(y / cap), in place. */
export function softcap(target: Target, { cap, ...map }: RowMap & { readonly cap: number }) {
  return mapRows(target, map, ["rows/maps/capped", "rows/softcap"], { CAP: cap });
}

/** y [T, N] = factor y, in place. */
export function scale(target: Target, { factor, ...map }: RowMap & { readonly factor: number }) {
  return mapRows(target, map, ["rows/maps/scaled"], { SCALE: factor });
}

/** y [T, N] = activation(y), in place: the hidden numbers of a feed-forward without a gate. */
export function activate(
  target: Target,
  { activation, ...map }: RowMap & { readonly activation: ActivationFunction },
) {
  return mapRows(target, map, ["rows/maps/activated", `rows/${activation}`], {});
}

function mapRows(
  target: Target,
  { label, y }: RowMap,
  fragments: readonly string[],
  overrides: Readonly<Record<string, number>>,
): Dispatch[] {
  const { lanes: LANES } = target.adapter;
  const columns = Math.ceil(y.width / 4 / LANES);
  return [
    target.dispatcher.dispatch({
      label,
      shader: "rows/map",
      fragments,
      overrides: { N: y.width, STRIDE: y.stride, LANES, ...overrides },
      bindings: { y: activationBinding(y) },
      grid: (step) => [columns, step.tokens, 1],
    }),
  ];
}

export interface RowSum {
  readonly label: string;
  readonly x: Activations; // [T, N]
  readonly y: Activations; // [T, N]
  readonly factor: number;
}

/** y [T, N] += factor x [T, N]. */
export function addRows(target: Target, { label, x, y, factor }: RowSum): Dispatch[] {
  const { lanes: LANES } = target.adapter;
  const columns = Math.ceil(y.width / 4 / LANES);
  return [
    target.dispatcher.dispatch({
      label,
      shader: "rows/add-rows",
      overrides: { N: y.width, STRIDE: y.stride, SCALE: factor, LANES },
      bindings: { x: activationBinding(x), y: activationBinding(y) },
      grid: (step) => [columns, step.tokens, 1],
    }),
  ];
}

export interface Gating {
  readonly label: string;
  readonly gateUp: Activations; // [T, 2, F]
  readonly hidden: Activations; // [T, F]
  readonly activation: ActivationFunction;
}

/** hidden [T, F] = activation(gate) up, for gateUp [T, 2, F]. */
export function gatedActivation(target: Target, gating: Gating): Dispatch[] {
  const { label, gateUp, hidden, activation } = gating;
  const { adapter } = target;
  const { lanes } = adapter;
  const count = hidden.width / 4;
  return [
    target.dispatcher.dispatch({
      label,
      shader: "rows/gated-activation",
      fragments: [`rows/${activation}`],
      overrides: { F: hidden.width, STRIDE: gateUp.stride, LANES: lanes },
      bindings: { gate_up: activationBinding(gateUp), hidden: activationBinding(hidden) },
      grid: ({ tokens }) => [rowGroups(adapter, { count, lanes, tokens: tokens }), tokens, 1],
    }),
  ];
}
