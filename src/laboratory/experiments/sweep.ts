// Cells of a long measurement: each is computed once and kept, so that a stopped sweep goes on
// where it was.
// In this room: experiments on a whole model, data in, data out. Not in it: kernels by themselves
// (kernels/), and flags, files, tables and plots (the command line's).

import type { Engine } from "../../engine/engine.ts";
import type { EngineOptions } from "../../engine/options.ts";
import type { Watch } from "../watch.ts";

/** Loads the model of an experiment, with what this part of it needs; the experiment closes it. */
export type OpenEngine = (needed: EngineOptions) => Promise<Engine>;

export interface Cell<T> {
  /** What the result depends on, beside what all cells of the sweep share. Becomes JSON. */
  readonly key: readonly unknown[];
  readonly compute: () => Promise<T>;
}

/** Where results are kept. Other sweeps may read and write it at the same time. */
export interface CellStore<T> {
  /** Undefined if the cell has not been computed. */
  read(cell: Cell<T>): Promise<T | undefined>;
  write(cell: Cell<T>, result: T): Promise<void>;
}

/**
 * Computes cells in order. Those that are kept are not computed again, and each new one is kept at
 * once. A raised signal ends the sweep between two cells; what there is so far is returned.
 */
export async function sweep<T extends object>(
  cells: readonly Cell<T>[],
  store: CellStore<T>,
  { onProgress, signal }: Watch = {},
): Promise<(T | undefined)[]> {
  const results = await Promise.all(cells.map((cell) => store.read(cell)));
  const total = results.filter((result) => !result).length;
  onProgress?.(0, total);
  let done = 0;
  for (const [i, cell] of cells.entries()) {
    if (signal?.aborted) break;
    if (results[i]) continue;
    // Another sweep may have computed it meanwhile.
    const result = (await store.read(cell)) ?? (await cell.compute());
    await store.write(cell, result);
    results[i] = result;
    onProgress?.(++done, total);
  }
  return results;
}
