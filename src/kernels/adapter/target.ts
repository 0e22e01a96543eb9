// The target of operations: the adapter and the kind of step that dispatches are prepared for.

import { Dispatcher } from "../gpu/dispatcher.ts";
import type { KernelLibrary } from "../gpu/kernel.ts";
import type { ParamBlock } from "../gpu/params.ts";
import type { Adapter } from "./adapter.ts";

/** The most tokens of a step whose results do not depend on how many they are. */
export const FEW = 16;

export interface Target {
  readonly adapter: Adapter;
  /**
   * How many tokens steps have. The products of "one", and of "few", which is 1 to `FEW`, are the same
   * to the bit for a token, whatever else is in its step; those of "several", which is any number, are
   * so on the threads of a CPU only. Which shader makes them: see `wayOf` in matrix/products.ts.
   */
  readonly tokens: "one" | "few" | "several";
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
