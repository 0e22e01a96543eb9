// Waits for a software adapter without taking a core from it.
//
// While a promise of Dawn's is pending, its Node binding polls the device on every turn of the
// event loop, through the global `setImmediate`. That keeps one core busy; on a graphics card that
// does not matter, but a software adapter computes on the same cores: on two of them a token takes
// 1.6 times as long. So Dawn's calls run with a `setImmediate` that lets some time pass. It is in
// place during these calls only, and no other code ever sees it. If the binding changes its method,
// this has no effect.

import type { Wait } from "../kernels/gpu/device.ts";

/** A timer's shortest time. */
const POLL_MS = 1;

/** Shorter waits are polled for more often: a timer would lengthen them by a large share. */
const SHORT_MS = 4;
const SHORT_POLL_MS = 0.2;

/** Milliseconds that the last wait took. */
let last = Number.POSITIVE_INFINITY;

/** Starts an operation, and makes Dawn poll for it at intervals. */
export const pollRarely: Wait = async (start) => {
  const began = performance.now();
  const rest = last < SHORT_MS ? sleepBriefly : (poll: () => void) => setTimeout(poll, POLL_MS);
  try {
    return await withPolls(start, rest);
  } finally {
    last = performance.now() - began;
  }
};

/** Runs Dawn's code with a replaced `setImmediate`. */
function withPolls<T>(call: () => T, rest: (poll: () => void) => unknown): T {
  const original = globalThis.setImmediate;
  const later = (poll: () => void) => rest(() => withPolls(poll, rest));
  globalThis.setImmediate = later as unknown as typeof setImmediate;
  try {
    return call();
  } finally {
    globalThis.setImmediate = original;
  }
}

const { setImmediate: immediately } = globalThis;
const neverWoken = new Int32Array(new SharedArrayBuffer(4));

/** Sleeps for less than a timer can, on the next turn of the event loop, and polls. */
function sleepBriefly(poll: () => void): void {
  immediately(() => {
    Atomics.wait(neverWoken, 0, 0, SHORT_POLL_MS);
    poll();
  });
}
