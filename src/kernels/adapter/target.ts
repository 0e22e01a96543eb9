// The target of operations: the adapter and the kind of step that dispatches are prepared for.

import { Dispatcher } from "../gpu/dispatcher.ts";
import type { KernelLibrary } from "../gpu/kernel.ts";
import type { ParamBlock } from "../gpu/params.ts";
import type { Adapter } from "./adapter.ts";

export interface Target {
  readonly adapter: Adapter;
  /**
   * Whether steps have one token, which is multiplied by `matvec` with fused norms and activations,
   * or any number of them, which are multiplied by `matmul`.
   */
  readonly tokens: "one" | "several";
  readonly dispatcher: Dispatcher;
}

/** Where a target takes kernels from, and the buffer that the values of a step are written to. */
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
