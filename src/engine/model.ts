// The forward pass: tokens in, logits out. One straight line for every architecture, for prefill (T > 1) and for
// decoding (T = 1) alike.
//
//   L layers   T tokens of this step   D width          H query heads   G key/value heads   E head width
//   F feed-forward width   V vocabulary   P tokens a page   N pages   S sinks   W window
//
// Everything here happens once, before the first token: the result is a list of dispatches to be replayed.

import type { KvCache } from "../context/cache/kv-cache.ts";
import type { Ops } from "../kernels/ops.ts";
import type { Dispatch } from "../kernels/recorder.ts";
import type { Activations } from "../kernels/tensor.ts";
import type { ModelConfig } from "./config.ts";
import type { ModelWeights } from "./weights.ts";

/** The activations of a step, for as many tokens as it may have. */
export interface Scratch {
  readonly tokens: GPUBuffer; // [T] ids
  readonly x: Activations; // [T, D] the residual stream
  readonly normed: Activations; // [T, D] where T > 1: a single token is normed on the way
  readonly qkv: Activations; // [T, H + 2 G, E]
  readonly qkNormed: Activations; // [T, H + G, E] in rows of qkv where heads have norms, else qkv itself
  readonly rotated: GPUBuffer; // [T, 2, H, E] queries before the window, and before the sinks
  readonly partial: { readonly outputs: GPUBuffer; readonly states: GPUBuffer };
  readonly attended: Activations; // [T, H E]
  readonly gateUp: Activations; // [T, 2, F]
  readonly hidden: Activations; // [T, F]
  readonly headInput: Activations; // [R, D] the rows whose logits are wanted, normed
  readonly logits: Activations; // [R, V]
}

/** The layers: x [T, D] of the tokens of a step, their keys and values stored on the way. */
export function layers(
  ops: Ops,
  config: ModelConfig,
  weights: ModelWeights,
  cache: KvCache,
  scratch: Scratch,
): Dispatch[] {
  const { x, normed, qkv, qkNormed, rotated, partial, attended, gateUp, hidden } = scratch;
  const { shape, turns, slots, pageTable, keyTurns } = cache;
  const { heads: H, kvHeads: G, headWidth: E, normEpsilon: eps } = config;

  const steps = [ops.embed(scratch.tokens, weights.tokenEmbd, x)];
  for (const [i, layer] of weights.layers.entries()) {
    const name = `blk.${i}`;
    const pages = cache.layers[i]!;

    // attention
    const attnNorm = { weight: layer.attnNorm, eps, into: normed };
    steps.push(ops.project(x, layer.attnQkv, qkv, { norm: attnNorm, bias: layer.attnQkvBias }));
    if (layer.attnQNorm) steps.push(ops.rmsNorm(qkv, layer.attnQNorm, qkNormed, eps, { parts: H }));
    if (layer.attnKNorm)
      steps.push(ops.rmsNorm(qkv, layer.attnKNorm, qkNormed, eps, { first: H * E, parts: G }));
    const { attention } = ops;
    steps.push(
      attention.ropeStore(`${name}.rope`, shape, qkNormed, qkv, turns, slots, rotated, pages),
      attention.attend(
        `${name}.attention`,
        shape,
        rotated,
        pages,
        pageTable,
        partial,
        attended,
        keyTurns,
      ),
      ops.project(attended, layer.attnOutput, x, { add: true, bias: layer.attnOutputBias }),
    );

    // feed-forward
    const ffnNorm = { weight: layer.ffnNorm, eps, into: normed };
    steps.push(
      ops.gate(`${name}.gate`, x, layer.ffnGateUp, gateUp, hidden, {
        norm: ffnNorm,
        bias: layer.ffnGateUpBias,
      }),
      ops.project(hidden, layer.ffnDown, x, { add: true, bias: layer.ffnDownBias }),
    );
  }
  return steps.flat();
}

/** The head: logits [R, V] of R tokens of x, from token `first` on. */
export function head(
  ops: Ops,
  config: ModelConfig,
  weights: ModelWeights,
  { x, headInput, logits }: Scratch,
): Dispatch[] {
  return [
    ops.rmsNorm(x, weights.outputNorm, headInput, config.normEpsilon),
    ops.project(headInput, weights.output, logits, { bias: weights.outputBias }),
  ].flat();
}
