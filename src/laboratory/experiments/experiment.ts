// Experiments on a whole model: what a cache buys, how far positions reach, where attention looks,
// what streams and memories forget; data in, data out. Not in this room: kernels by themselves
// (kernels/), and flags, files, tables and plots (the command line's).

import type { Engine } from "../../engine/engine.ts";
import type { EngineOptions } from "../../engine/options.ts";

/** How an experiment is followed and stopped. */
export interface Watch {
  /** Hears at the start and after each unit how many are done of how many. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** A raised one ends the experiment between two units, with what there is so far. */
  readonly signal?: AbortSignal | undefined;
}

/** Loads the model of an experiment, with what this part of it needs; the experiment closes it. */
export type OpenEngine = (needed: EngineOptions) => Promise<Engine>;
