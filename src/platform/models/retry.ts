// Trying again what may pass by itself, for a bounded time.

import { PassingError } from "./failures.ts";

/** Milliseconds before each new try that brings nothing. */
const DELAYS = [500, 1000, 2000, 4000, 8000];

/** Longer than a server may ask to wait: then the user decides. */
const LONGEST_WAIT = 120_000;

export interface Trying {
  /** How far it has come: a try that comes further is not counted as a failure. */
  readonly progress?: () => number;
  /** Hears why it waits, and for how long. */
  readonly onWait: (message: string) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs `work`, and again after a `PassingError`. Without a network it fails at once, unless it has
 * come further before.
 */
export async function persist<T>(work: () => Promise<T>, trying: Trying): Promise<T> {
  const { progress = () => 0, onWait, signal } = trying;
  const began = progress();
  let reached = began;
  for (let failures = 0; ; failures++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof PassingError)) throw error;
      if (progress() > reached) failures = 0;
      reached = progress();
      const wait = error.waitMs ?? DELAYS[failures];
      if (error.isUnreached && reached === began) throw error;
      if (failures >= DELAYS.length || wait === undefined || wait > LONGEST_WAIT) throw error;
      onWait(`${error.message} Trying again in ${Math.ceil(wait / 1000)} s.`);
      await pause(wait, signal);
    }
  }
}

/** Rejects with the signal's reason when it is raised. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
