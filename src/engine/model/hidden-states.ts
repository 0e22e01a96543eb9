// The forward pass up to a layer, for its hidden states: prepared when first needed.

import type { KvCache } from "../../context/cache/kv-cache.ts";
import type { Target } from "../../kernels/adapter/target.ts";
import type { Activations } from "../../kernels/gpu/activations.ts";
import type { Dispatch } from "../../kernels/gpu/commands.ts";
import { normalize } from "../../kernels/rows/rows.ts";
import type { ModelConfig } from "./config.ts";
import { afterAttention, layers, type Scratch, streamOf } from "./forward.ts";
import type { ModelWeights } from "./weights.ts";

/** Dispatches that compute the hidden states [T, D] of a layer, and where these are. */
export interface HiddenPlan {
  readonly dispatches: readonly Dispatch[];
  readonly states: Activations;
}

/**
 * What Hugging Face calls `hidden_states[depth]`: 0 for the token embeddings, l for the residual
 * stream after block l, L for the last with the output norm. For steps of any number of tokens, so
 * `targets` are those of several.
 */
export function hiddenStates(
  targets: readonly Target[],
  config: ModelConfig,
  weights: ModelWeights,
  caches: readonly KvCache[],
  scratch: Scratch,
  depth: number,
): HiddenPlan {
  const x = streamOf(config, scratch);
  const { normed } = scratch;
  const dispatches = layers(targets, config, weights, caches, scratch, depth);
  if (depth > 0)
    dispatches.push(...afterAttention(targets[0]!, config, weights, depth - 1, scratch));
  const { outputNorm: weight } = weights;
  if (depth < config.layers || !weight) return { dispatches, states: x };
  const { norm: kind, normEpsilon: eps } = config;
  dispatches.push(...normalize(targets[0]!, { x, weight, y: normed, kind, eps }));
  return { dispatches, states: normed };
}
