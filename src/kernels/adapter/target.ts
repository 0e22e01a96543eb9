// What the families of operations prepare dispatches for.

import { Dispatcher } from "../gpu/dispatcher.ts";
import type { KernelLibrary } from "../gpu/kernel.ts";
import type { ParamBlock } from "../gpu/params.ts";
import type { Adapter } from "./adapter.ts";

/** The most tokens of a step whose rows are each summed as if alone. */
export const FEW = 16;

export interface Target {
  readonly adapter: Adapter;
  /**
   * Whether steps have one token, whose vector meets a matrix by `matvec` and is normed and gated
   * on the way; or several, and then any number of them, which meet it by `matmul`.
   */
  readonly tokens: "one" | "few" | "several";
  readonly dispatcher: Dispatcher;
}

/**
 * Where the kernels of a target come from, and where the numbers of a step are written for them.
 */
export interface TargetParts {
  readonly adapter: Adapter;
  readonly library: KernelLibrary;
  readonly params: ParamBlock;
}

export function targetOf(
  { adapter, library, params }: TargetParts,
  tokens: Target["tokens"],
): Target {
  return { adapter, tokens, dispatcher: new Dispatcher(library, params) };
}
