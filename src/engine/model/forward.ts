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
import { gate, type Projection, project } from "../../kernels/matrix/products.ts";
import { embed, rmsNorm, softcap } from "../../kernels/rows/rows.ts";
import type { Weights } from "../../kernels/weights/tensor.ts";
import type { ModelConfig } from "./config.ts";
import { headShape, type LayerTraits } from "./traits.ts";
import type { ModelWeights } from "./weights.ts";

/** The activations of a step, with room for the most tokens of one. */
export interface Scratch {
  readonly tokens: GPUBuffer; // [T] ids, or the places of choices
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
  const { x, normed, qkv, qkNormed, partial, attended } = scratch;
  const target = targets[0]!; // the target of what all layers share
  const { heads: H, kvHeads: G, headWidth: E, normEpsilon: eps } = config;

  const { tokens, choices } = scratch;
  const scale = config.embeddingScale;
  const steps = [embed(target, { tokens, choices, table: weights.tokenEmbd, x, scale })];
  for (const [i, layer] of weights.layers.slice(0, depth).entries()) {
    // The rest of the layer before. That of the last layer is in `head`, for wanted tokens only.
    if (i > 0) steps.push(afterAttention(target, config, weights, i - 1, scratch));
    const label = `blk.${i}.attention`;
    const group = caches.findIndex(({ layers }) => layers.has(i));
    const cache = caches[group]!;
    const { pageTable, keyRotations, work } = cache;
    const pages = cache.layers.get(i)!;
    const norm = { weight: layer.attnNorm, eps, into: normed };
    steps.push(
      project(target, { x, weights: layer.attnQkv, y: qkv, norm, bias: layer.attnQkvBias }),
    );
    if (layer.attnQNorm)
      steps.push(rmsNorm(target, { x: qkv, weight: layer.attnQNorm, y: qkNormed, eps, parts: H }));
    if (layer.attnKNorm)
      steps.push(
        rmsNorm(target, {
          x: qkv,
          weight: layer.attnKNorm,
          y: qkNormed,
          eps,
          first: H * E,
          parts: G,
        }),
      );
    const { shape, tokens: arriving } = attentionInputs(config.traits[i]!, cache, scratch);
    const buffers = { pages, pageTable, keyRotations, work, partial, x: attended };
    const attends = storeAndAttend(targets[group]!, { label, shape, tokens: arriving, buffers });
    steps.push(ofCache(cache, attends));
  }
  return steps.flat();
}

/** The shape of a layer's heads, and the buffers of a step's tokens that its attention reads. */
export function attentionInputs(
  traits: LayerTraits,
  { shape, rotations, slots }: KvCache,
  { qkv, qkNormed, rotated }: Pick<Scratch, "qkv" | "qkNormed" | "rotated">,
): { readonly shape: HeadShape; readonly tokens: NewTokens } {
  const qk = traits.headNorms ? qkNormed : qkv;
  return { shape: headShape(shape, traits), tokens: { qk, qkv, rotations, slots, rotated } };
}

/** Dispatches whose grids follow what a cache has prepared; before its first step, what is given. */
function ofCache(cache: KvCache, dispatches: readonly Dispatch[]): Dispatch[] {
  return dispatches.map((dispatch) => ({
    ...dispatch,
    grid: (step) => dispatch.grid(cache.step ?? step),
  }));
}

/**
 * The rest of a layer: the attention output is added to the residual stream, then the feed-forward.
 */
export function afterAttention(
  target: Target,
  { normEpsilon: eps, traits }: ModelConfig,
  weights: ModelWeights,
  i: number,
  { x, normed, attended, gateUp, hidden }: Omit<HeadScratch, "logits">,
): Dispatch[] {
  const layer = weights.layers[i]!;
  const norm = { weight: layer.ffnNorm, eps, into: normed };
  /** x += the product, or its norm if there is one. */
  const addTo = (product: Omit<Projection, "y">, postNorm: Weights | undefined) =>
    postNorm
      ? [
          project(target, { ...product, y: normed }),
          rmsNorm(target, { x: normed, weight: postNorm, y: x, eps, add: true }),
        ].flat()
      : project(target, { ...product, y: x, add: true });
  return [
    addTo(
      { x: attended, weights: layer.attnOutput, bias: layer.attnOutputBias },
      layer.attnPostNorm,
    ),
    gate(target, {
      label: `blk.${i}.gate`,
      x,
      weights: layer.ffnGateUp,
      gateUp,
      hidden,
      activation: traits[i]!.activation,
      norm,
      bias: layer.ffnGateUpBias,
    }),
    addTo({ x: hidden, weights: layer.ffnDown, bias: layer.ffnDownBias }, layer.ffnPostNorm),
  ].flat();
}

/** The rest of the last layer, and the output head: logits [R, V] of R tokens. */
export function head(
  target: Target,
  config: ModelConfig,
  weights: ModelWeights,
  scratch: HeadScratch,
): Dispatch[] {
  const { x, normed, logits } = scratch;
  const { logitCap: cap } = config;
  const norm = { weight: weights.outputNorm, eps: config.normEpsilon, into: normed };
  return [
    afterAttention(target, config, weights, config.layers - 1, scratch),
    project(target, { x, weights: weights.output, y: logits, norm, bias: weights.outputBias }),
    cap === undefined ? [] : softcap(target, { label: "logits", y: logits, cap }),
  ].flat();
}
