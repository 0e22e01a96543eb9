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
  readonly normed: Activations; // [T, D]
  readonly q: Activations; // [T, H E]
  readonly qNormed: Activations; // [T, H E] where heads have norms, else q itself
  readonly k: Activations; // [T, G E]
  readonly kNormed: Activations; // [T, G E] where heads have norms, else k itself
  readonly v: Activations; // [T, G E]
  readonly rotated: GPUBuffer; // [T, 2, H, E] queries before the window, and before the sinks
  readonly partial: { readonly outputs: GPUBuffer; readonly states: GPUBuffer };
  readonly attended: Activations; // [T, H E]
  readonly gate: Activations; // [T, F]
  readonly up: Activations; // [T, F]
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
  const { x, normed, q, qNormed, k, kNormed, v, rotated, partial, attended, gate, up } = scratch;
  const { shape, turns, slots, pageTable, keyTurns } = cache;
  const eps = config.normEpsilon;

  const steps = [ops.embed(scratch.tokens, weights.tokenEmbd, x)];
  for (const [i, layer] of weights.layers.entries()) {
    const pages = cache.layers[i]!;

    // attention
    steps.push(
      ops.rmsNorm(x, layer.attnNorm, normed, eps),
      ops.project(normed, layer.attnQ, q, { bias: layer.attnQBias }),
      ops.project(normed, layer.attnK, k, { bias: layer.attnKBias }),
      ops.project(normed, layer.attnV, v, { bias: layer.attnVBias }),
    );
    if (layer.attnQNorm) steps.push(ops.rmsNorm(q, layer.attnQNorm, qNormed, eps));
    if (layer.attnKNorm) steps.push(ops.rmsNorm(k, layer.attnKNorm, kNormed, eps));
    steps.push(
      ops.ropeQuery(`blk.${i}.rope`, shape, qNormed, turns, rotated),
      ops.kvStore(`blk.${i}.store`, shape, kNormed, v, cache.storeTurns, slots, pages),
      ops.attend(
        `blk.${i}.attention`,
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
    steps.push(
      ops.rmsNorm(x, layer.ffnNorm, normed, eps),
      ops.project(normed, layer.ffnGate, gate, { bias: layer.ffnGateBias }),
      ops.project(normed, layer.ffnUp, up, { bias: layer.ffnUpBias }),
      ops.swiglu(`blk.${i}.swiglu`, gate, up),
      ops.project(gate, layer.ffnDown, x, { add: true, bias: layer.ffnDownBias }),
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
