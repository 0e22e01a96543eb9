// The forward pass: tokens in, logits out. The code is one straight line for every architecture,
// and the same for prefill (T > 1) and decoding (T = 1); differences between layers are in their
// traits.
//
// In this room: what a model's file says (config, traits, weights) and what is computed from it.
// Not in it: when a step runs, and for which sequence (run/).
//
//   L layers   T tokens of this step   D width   H query heads   G key/value heads   E head width
//   F feed-forward width   V vocabulary   P tokens a page   N pages   S sinks   W window
//
// All of this runs once, before the first token: it makes a list of dispatches that steps replay.

import type { KvCache } from "../../context/cache/kv-cache.ts";
import type { Target } from "../../kernels/adapter/target.ts";
import { type NewTokens, storeAndAttend } from "../../kernels/attention/attention.ts";
import type { HeadShape } from "../../kernels/attention/head-shape.ts";
import type { Activations } from "../../kernels/gpu/activations.ts";
import type { Dispatch } from "../../kernels/gpu/commands.ts";
import { gate, type InputNorm, type Projection, project } from "../../kernels/matrix/products.ts";
import {
  activate,
  addBias,
  addRows,
  embed,
  normalize,
  scale,
  softcap,
} from "../../kernels/rows/rows.ts";
import type { Weights } from "../../kernels/weights/tensor.ts";
import type { ModelConfig } from "./config.ts";
import { headShape, type LayerTraits } from "./traits.ts";
import type { LayerWeights, ModelWeights } from "./weights.ts";

/** The activations of a step, with room for the most tokens of one. */
export interface Scratch {
  readonly tokens: GPUBuffer; // [T] ids, or the places of choices
  readonly positions: GPUBuffer | undefined; // [T] text positions, if they are rows of a table
  readonly choices: GPUBuffer; // [choices, 2] of the step before
  readonly x: Activations; // [T, D] the residual stream
  readonly normed: Activations; // [T, D]: a norm, if T > 1; what a layer norms before it is added
  readonly qkv: Activations; // [T, H + 2 G, E]
  readonly qkNormed: Activations; // [T, H + G, E] in rows of qkv; qkv itself if no head has a norm
  readonly rotated: GPUBuffer; // [T, 2, H, E] queries before the window, and before the sinks
  readonly partial: GPUBuffer; // [rows, H, E + 4] of attention, to be merged
  readonly attended: Activations; // [T, H E]
  readonly gateUp: Activations; // [T, 2, F]
  readonly hidden: Activations; // [T, F]
}

/** Activations of the R tokens whose logits are wanted, after the attention of the last layer. */
export interface HeadScratch extends Pick<Scratch, "x" | "attended" | "gateUp" | "hidden"> {
  readonly normed: Activations; // [R, D]
  readonly logits: Activations; // [R, V]
}

/**
 * The first `depth` layers, by default all, up to the attention of the last of them: keys and
 * values are stored, and x [T, D] and attended [T, H E] are computed. The rest of the last layer is
 * needed only for tokens whose logits or hidden states are wanted: see `head` and `hiddenStates`.
 */
export function layers(
  targets: readonly Target[],
  config: ModelConfig,
  weights: ModelWeights,
  caches: readonly KvCache[],
  scratch: Scratch,
  depth: number = config.layers,
): Dispatch[] {
  const { normed, qkv, partial, attended } = scratch;
  const target = targets[0]!; // the target of what all layers share
  const x = streamOf(config, scratch);

  const steps = [embeddings(target, config, weights, scratch)];
  for (const [i, layer] of weights.layers.slice(0, depth).entries()) {
    const traits = config.traits[i]!;
    // The rest of the layer before. That of the last layer is in `head`, for wanted tokens only.
    if (i > 0) steps.push(afterAttention(target, config, weights, i - 1, scratch));
    const label = `blk.${i}.attention`;
    const group = caches.findIndex(({ layers }) => layers.has(i));
    const cache = caches[group]!;
    const { pageTable, keyRotations, work } = cache;
    const pages = cache.layers.get(i)!;
    const norm = inputNorm(config, layer.attnNorm, normed);
    steps.push(
      project(target, { x, weights: layer.attnQkv, y: qkv, norm, bias: layer.attnQkvBias }),
      headNorms(target, config, traits, layer, scratch),
    );
    const { shape, tokens: arriving } = attentionInputs(traits, layer, cache, scratch);
    const buffers = { pages, pageTable, keyRotations, work, partial, x: attended };
    const attends = storeAndAttend(targets[group]!, { label, shape, tokens: arriving, buffers });
    steps.push(ofCache(cache, attends));
  }
  return steps.flat();
}

/**
 * Where the residual stream is between layers: in x; or, if it is a norm of sums, where norms are.
 */
export function streamOf(
  { traits }: ModelConfig,
  { x, normed }: Pick<Scratch, "x" | "normed">,
): Activations {
  return traits[0]?.branchNorms === "sum" ? normed : x;
}

/** The stream before the first layer: embeddings of tokens, and of positions in an encoder. */
function embeddings(
  target: Target,
  config: ModelConfig,
  { tokenEmbd, positionEmbd, tokenTypes, tokenEmbdNorm }: ModelWeights,
  scratch: Scratch,
): Dispatch[] {
  const { tokens, positions, choices, x } = scratch;
  const { embeddingScale, norm: kind, normEpsilon: eps } = config;
  const of = (tokens: GPUBuffer, table: Weights) => ({ tokens, choices, table, x });
  return [
    embed(target, { ...of(tokens, tokenEmbd), scale: embeddingScale }),
    positions && positionEmbd ? embed(target, { ...of(positions, positionEmbd), add: true }) : [],
    tokenTypes ? addBias(target, { bias: tokenTypes, y: x }) : [],
    tokenEmbdNorm
      ? normalize(target, { x, weight: tokenEmbdNorm, y: streamOf(config, scratch), kind, eps })
      : [],
  ].flat();
}

/** The norm before a branch, if it has one there. */
function inputNorm(
  { norm: kind, normEpsilon: eps }: ModelConfig,
  weight: Weights | undefined,
  into: Activations,
): InputNorm | undefined {
  return weight && { kind, weight, eps, into };
}

/** qkNormed = the norms of queries and keys: of each head, or of all heads as one row. */
function headNorms(
  target: Target,
  { heads: H, kvHeads: G, headWidth: E, norm: kind, normEpsilon: eps }: ModelConfig,
  { headNorms: rows }: LayerTraits,
  { attnQNorm, attnKNorm }: LayerWeights,
  { qkv: x, qkNormed: y }: Pick<Scratch, "qkv" | "qkNormed">,
): Dispatch[] {
  if (rows === undefined) return [];
  return [
    { weight: attnQNorm, first: 0, heads: H },
    { weight: attnKNorm, first: H * E, heads: G },
  ].flatMap(({ weight, first, heads }) => {
    const [parts, width] = rows === "rows" ? [1, heads * E] : [heads, E];
    return normalize(target, { x, y, weight, kind, eps, first, parts, width });
  });
}

/** The shape of a layer's heads, and the buffers of a step's tokens that its attention reads. */
export function attentionInputs(
  traits: LayerTraits,
  { attnRotatedNorms: queryNorms }: LayerWeights,
  { shape, rotations, slots }: KvCache,
  { qkv, qkNormed, rotated }: Pick<Scratch, "qkv" | "qkNormed" | "rotated">,
): { readonly shape: HeadShape; readonly tokens: NewTokens } {
  const qk = traits.headNorms ? qkNormed : qkv;
  const tokens = { qk, qkv, rotations, slots, rotated, queryNorms };
  return { shape: headShape(shape, traits), tokens };
}

/** Dispatches whose grids follow what a cache has prepared; before its first step, what is given. */
function ofCache(cache: KvCache, dispatches: readonly Dispatch[]): Dispatch[] {
  return dispatches.map((dispatch) => ({
    ...dispatch,
    grid: (step) => dispatch.grid(cache.step ?? step),
  }));
}

/**
 * The rest of a layer: what attention and the feed-forward have computed is added to the residual
 * stream, one after the other, or both at once if they are parallel.
 */
export function afterAttention(
  target: Target,
  config: ModelConfig,
  weights: ModelWeights,
  i: number,
  { x, normed, attended, gateUp, hidden }: Omit<HeadScratch, "logits">,
): Dispatch[] {
  const { branchNorms, parallel, gated, activation } = config.traits[i]!;
  const layer = weights.layers[i]!;
  const norm = inputNorm(config, parallel ? layer.attnNorm : layer.ffnNorm, normed);
  const [matrix, bias] = [layer.ffnGateUp, layer.ffnGateUpBias];
  const label = `blk.${i}.hidden`;
  const hide = gated
    ? gate(target, { label, x, weights: matrix, gateUp, hidden, activation, norm, bias })
    : [
        ...project(target, { x, weights: matrix, y: hidden, norm, bias }),
        ...activate(target, { label, y: hidden, activation }),
      ];
  const attention = { x: attended, weights: layer.attnOutput, bias: layer.attnOutputBias };
  const feedForward = { x: hidden, weights: layer.ffnDown, bias: layer.ffnDownBias };
  if (branchNorms === "sum") {
    return [
      ...normOfSum(target, config, normed, x, attention, layer.attnPostNorm),
      ...hide,
      ...normOfSum(target, config, x, normed, feedForward, layer.ffnPostNorm),
    ];
  }
  const addAttention = addTo(target, config, x, normed, attention, layer.attnPostNorm);
  const addFeedForward = addTo(target, config, x, normed, feedForward, layer.ffnPostNorm);
  return parallel
    ? [...hide, ...addAttention, ...addFeedForward]
    : [...addAttention, ...hide, ...addFeedForward];
}

/** y = the norm of x + a branch's product. */
function normOfSum(
  target: Target,
  { norm: kind, normEpsilon: eps }: ModelConfig,
  x: Activations,
  y: Activations,
  product: Omit<Projection, "y">,
  weight: Weights | undefined,
): Dispatch[] {
  return [
    ...project(target, { ...product, y: x, add: true }),
    ...normalize(target, { x, weight, y, kind, eps }),
  ];
}

/** x += a branch's product: its norm if it has one there, and scaled if branches are. */
function addTo(
  target: Target,
  { norm: kind, normEpsilon: eps, residualScale: factor }: ModelConfig,
  x: Activations,
  branch: Activations,
  product: Omit<Projection, "y">,
  weight: Weights | undefined,
): Dispatch[] {
  if (!weight && factor === 1) return project(target, { ...product, y: x, add: true });
  return [
    ...project(target, { ...product, y: branch }),
    ...(weight
      ? normalize(target, { x: branch, weight, y: x, kind, eps, add: true })
      : addRows(target, { label: branch.label, x: branch, y: x, factor })),
  ];
}

/** The rest of the last layer, and the output head: logits [R, V] of R tokens. */
export function head(
  target: Target,
  config: ModelConfig,
  weights: ModelWeights,
  scratch: HeadScratch,
): Dispatch[] {
  const { x, normed, logits } = scratch;
  const { logitScale: factor, logitCap: cap } = config;
  const norm = inputNorm(config, weights.outputNorm, normed);
  return [
    afterAttention(target, config, weights, config.layers - 1, scratch),
    project(target, { x, weights: weights.output, y: logits, norm, bias: weights.outputBias }),
    factor === 1 ? [] : scale(target, { label: "logits", y: logits, factor }),
    cap === undefined ? [] : softcap(target, { label: "logits", y: logits, cap }),
  ].flat();
}
