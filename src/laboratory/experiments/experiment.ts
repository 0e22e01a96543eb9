// Experiments on a whole model: what a cache buys, how far positions reach, where attention looks,
// what streams and memories forget; data in, data out. Not in this room: kernels by themselves
// (kernels/), and flags, files, tables and plots (the command line's).

import type { Engine } from "../../engine/engine.ts";
import type { EngineOptions } from "../../engine/options.ts";

/** Loads the model of an experiment, with what this part of it needs; the experiment closes it. */
export type OpenEngine = (needed: EngineOptions) => Promise<Engine>;
