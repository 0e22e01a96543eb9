// What fits? Exact bytes by context, how long a text a memory holds, and what attention costs by
// length: all of it counted from the header of a file, before anything is loaded.

import {
  attentionOperations,
  tokenBytes,
  visibleKeys,
  visiblePairs,
} from "../../context/positions/attention-cost.ts";
import type { AttentionPolicy } from "../../context/positions/attention-policy.ts";
import { largestContext, type ModelFile, planMemory } from "../../engine/model/open.ts";
import type { EngineOptions } from "../../engine/options.ts";
import type { MemoryPlan } from "../../engine/run/memory-plan.ts";
import { bytesOfNumber, type KvType } from "../../kernels/attention/kv-types.ts";

/** A way of running the model. */
export interface Way {
  readonly policy: AttentionPolicy;
  readonly kv: KvType;
}

/** What one way costs at one context. */
export interface ContextCost extends MemoryPlan {
  readonly attention: string;
  readonly kv: KvType;
  /**
   * Operations of attention for the last token of a text of this length, and for all of its tokens.
   */
  readonly tokenOperations: number;
  readonly textOperations: number;
  /** Bytes of keys and values that the last token reads. */
  readonly tokenReads: number;
}

/** The longest context that one way has room for in a memory. */
interface LargestContext {
  readonly attention: string;
  readonly kv: KvType;
  /** Tokens; `Infinity` if any text fits, undefined if no memory is given. */
  readonly largestContext: number | undefined;
}

/**
 * Counts what each way costs at each of `contexts` tokens, and the longest context that fits into
 * `memory` bytes. `options`: those of an engine that all ways share.
 */
export function contextCosts(
  model: ModelFile,
  ways: readonly Way[],
  contexts: readonly number[],
  options: EngineOptions,
  memory: number | undefined,
): { readonly rows: readonly ContextCost[]; readonly fits: readonly LargestContext[] } {
  const { file, config } = model;
  const optionsOf = ({ policy, kv }: Way) => ({ ...options, attention: policy, kv });
  const rows = ways.flatMap((way) =>
    contexts.map((context) => costOf(model, way, { ...optionsOf(way), context })),
  );
  const fits = ways.map((way) => ({
    attention: way.policy.name,
    kv: way.kv,
    largestContext:
      memory === undefined ? undefined : largestContext(file, config, optionsOf(way), memory),
  }));
  return { rows, fits };
}

function costOf(
  { file, config }: ModelFile,
  { policy, kv }: Way,
  options: EngineOptions & { readonly context: number },
): ContextCost {
  const { context } = options;
  const keys = visibleKeys(policy, context - 1);
  return {
    attention: policy.name,
    kv,
    ...planMemory(file, config, options),
    tokenOperations: attentionOperations(config, keys),
    textOperations: attentionOperations(config, visiblePairs(policy, context)),
    tokenReads: keys * tokenBytes(config, bytesOfNumber(kv)),
  };
}
