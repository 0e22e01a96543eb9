// The laboratory measures: kernels by themselves (kernels/), and whole models (experiments/). Not
// in this house: what reads flags and files, and what prints, draws and keeps results (cli/).

/** How a measurement is followed and stopped. */
export interface Watch {
  /** Hears at the start and after each unit how many are done of how many. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** A raised one ends the measurement between two units, with what there is so far. */
  readonly signal?: AbortSignal | undefined;
}
