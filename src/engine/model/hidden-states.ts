// The forward pass up to a layer, for what the tokens have become there: prepared when asked for.

import type { KvCache } from "../../context/cache/kv-cache.ts";
import type { Target } from "../../kernels/adapter/target.ts";
import type { Activations } from "../../kernels/gpu/activations.ts";
import type { Dispatch } from "../../kernels/gpu/commands.ts";
import { rmsNorm } from "../../kernels/rows/rows.ts";
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
 * tokens, so `targets` are those of several.
 */
export function hiddenStates(
  targets: readonly Target[],
  config: ModelConfig,
  weights: ModelWeights,
  caches: readonly KvCache[],
  scratch: Scratch,
  depth: number,
): HiddenPlan {
  const { x, normed } = scratch;
  const dispatches = layers(targets, config, weights, caches, scratch, depth);
  if (depth > 0)
    dispatches.push(...afterAttention(targets[0]!, config, weights, depth - 1, scratch));
  if (depth < config.layers) return { dispatches, states: x };
  const norm = { x, weight: weights.outputNorm, y: normed, eps: config.normEpsilon };
  dispatches.push(...rmsNorm(targets[0]!, norm));
  return { dispatches, states: normed };
}
