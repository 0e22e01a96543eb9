// The forward pass up to a layer, for what the tokens have become there: prepared when asked for.

import type { KvCache } from "../../context/cache/kv-cache.ts";
import type { Dispatch } from "../../kernels/gpu/commands.ts";
import type { Ops } from "../../kernels/ops.ts";
import type { Activations } from "../../kernels/weights/tensor.ts";
import type { ModelConfig } from "./config.ts";
import { afterAttention, layers, type Scratch } from "./forward.ts";
import type { ModelWeights } from "./weights.ts";

/** Dispatches that leave the hidden states of a layer [T, D] in some activations. */
export interface HiddenPlan {
  readonly dispatches: readonly Dispatch[];
  readonly states: Activations;
}

/**
 * What Hugging Face calls `hidden_states[depth]`: 0 the embeddings of the tokens, l the residual
 * stream behind block l, L the last one with the output norm taken. For steps of any number of
 * tokens, so `ops` are those of several.
 */
export function hiddenStates(
  ops: readonly Ops[],
  config: ModelConfig,
  weights: ModelWeights,
  caches: readonly KvCache[],
  scratch: Scratch,
  depth: number,
): HiddenPlan {
  const { x, normed } = scratch;
  const dispatches = layers(ops, config, weights, caches, scratch, depth);
  if (depth > 0) dispatches.push(...afterAttention(ops[0]!, config, weights, depth - 1, scratch));
  if (depth < config.layers) return { dispatches, states: x };
  dispatches.push(...ops[0]!.rmsNorm(x, weights.outputNorm, normed, config.normEpsilon));
  return { dispatches, states: normed };
}
