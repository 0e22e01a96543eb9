// A text is computed while its reader does something else, but not far ahead of it.

import type { Sequence } from "../../context/cache/sequence.ts";

/** Tokens of a text that are computed before they are asked for. Then it yields its place to others. */
export const READ_AHEAD = 32;

/** Who is told that a text is read on, or not: see `LoadedModel`. */
export interface Places {
  pause(sequence: Sequence): void;
  resume(sequence: Sequence, signal: AbortSignal | undefined): Promise<void>;
}

/** What is computed ahead of its reader. */
export class ReadAhead<T> {
  readonly #places: Places;
  readonly #sequence: Sequence;
  readonly #left = new AbortController();
  readonly #ready: T[] = [];
  #failure: { readonly error: unknown } | undefined;
  #isDone = false;
  #filling: Promise<void> = Promise.resolve();
  /** Wakes the reader that waits for the next, or what computes if it waits for the reader. */
  #wakeReader = () => {};
  #wakeSource = () => {};

  /** `source` gets a signal that is raised with `signal`, or if the reader leaves. */
  constructor(places: Places, sequence: Sequence) {
    this.#places = places;
    this.#sequence = sequence;
  }

  /** Begins to compute, at most `most` ahead; 0: only what is asked for. Call it once. */
  async *read(
    most: number,
    signal: AbortSignal | undefined,
    source: (signal: AbortSignal) => AsyncGenerator<T, void, void>,
  ): AsyncGenerator<T, void, void> {
    const left = this.#left.signal;
    const either = signal ? AbortSignal.any([signal, left]) : left;
    this.#filling = this.#fill(most, source(either), either);
    try {
      while (!signal?.aborted) {
        if (this.#ready.length > 0) {
          const next = this.#ready.shift()!;
          if (most > 0 && this.#ready.length <= most / 2) this.#wakeSource();
          yield next;
          if (most === 0) this.#wakeSource();
        } else if (this.#isDone) {
          if (this.#failure) throw this.#failure.error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
        }
      }
    } finally {
      await this.stop();
    }
  }

  /** Ends the computing; settles when no step of the text is on its way. */
  async stop(): Promise<void> {
    this.#left.abort();
    this.#wakeSource();
    await this.#filling;
  }

  async #fill(most: number, source: AsyncGenerator<T, void, void>, signal: AbortSignal) {
    try {
      for await (const next of source) {
        this.#ready.push(next);
        this.#wakeReader();
        if (this.#left.signal.aborted) break;
        if (this.#ready.length < Math.max(1, most)) continue;
        this.#places.pause(this.#sequence);
        await new Promise<void>((resolve) => {
          this.#wakeSource = resolve;
        });
        if (this.#left.signal.aborted) break;
        await this.#places.resume(this.#sequence, signal);
      }
    } catch (error) {
      this.#failure = { error };
    }
    this.#isDone = true;
    this.#wakeReader();
  }
}
