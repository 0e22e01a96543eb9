// Operations on rows of activations: decode rows of the embedding table, norm, gate and cap rows,
// add a bias. Not in this room: products with a matrix (matrix/), and operations on logits (choice/).

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
}

/** x [T, D] = rows `tokens` [T] of the table [V, D], scaled. */
export function embed(target: Target, embedding: Embedding): Dispatch[] {
  const { tokens, choices, table, x, scale: SCALE = 1 } = embedding;
  const { lanes: LANES } = target.adapter;
  const columns = Math.ceil(x.stride / 32 / LANES);
  return table.parts.map((part) =>
    target.dispatcher.dispatch({
      label: table.label,
      shader: "rows/embed",
      fragments: decoderOf(part.format, part.placement),
      overrides: { SCALE, LANES },
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

export interface RowNorm {
  readonly x: Activations;
  readonly weight: Weights; // [D]
  readonly y: Activations;
  readonly eps: number;
  /** Numbers of a token before its rows; default 0. */
  readonly first?: number;
  /** Rows of a token. Default: as many as fill it. */
  readonly parts?: number;
  /** Adds to y instead of replacing it. */
  readonly add?: boolean;
}

/**
 * y [T, parts, D] = RMSNorm(x [T, parts, D]) weight, or y += it if `add` is set: rows are whole
 * tokens, or heads of them.
 */
export function rmsNorm(target: Target, norm: RowNorm): Dispatch[] {
  const { x, weight, y, eps, first = 0, parts = x.width / weight.k, add = false } = norm;
  const { lanes } = target.adapter;
  const recipe = {
    label: weight.label,
    shader: "rows/rms-norm",
    fragments: [reduction(target.adapter, lanes)],
    overrides: {
      D: weight.k,
      FIRST: first,
      STRIDE: x.stride,
      EPS: eps,
      ADD: Number(add),
      LANES: lanes,
    },
    bindings: {
      x: activationBinding(x),
      weight: vectorBinding(weight),
      y: activationBinding(y),
    },
  };
  return [target.dispatcher.dispatch({ ...recipe, grid: (step) => [parts, step.tokens, 1] })];
}

export interface Bias {
  readonly bias: Weights; // [N]
  readonly y: Activations; // [T, N]
}

/** y [T, N] += bias [N]. */
export function addBias(target: Target, { bias, y }: Bias): Dispatch[] {
  const { lanes: LANES } = target.adapter;
  const columns = Math.ceil(bias.k / 4 / LANES);
  return [
    target.dispatcher.dispatch({
      label: bias.label,
      shader: "rows/add-bias",
      overrides: { N: bias.k, STRIDE: y.stride, LANES },
      bindings: { bias: vectorBinding(bias), y: activationBinding(y) },
      grid: (step) => [columns, step.tokens, 1],
    }),
  ];
}

export interface Cap {
  readonly label: string;
  readonly y: Activations; // [T, N]
  readonly cap: number;
}

/** y [T, N] = cap tanh(y / cap), in place. */
export function softcap(target: Target, { label, y, cap: CAP }: Cap): Dispatch[] {
  const { lanes: LANES } = target.adapter;
  const columns = Math.ceil(y.width / 4 / LANES);
  return [
    target.dispatcher.dispatch({
      label,
      shader: "rows/cap",
      fragments: ["rows/softcap"],
      overrides: { N: y.width, STRIDE: y.stride, CAP, LANES },
      bindings: { y: activationBinding(y) },
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
