// Waiting for a software adapter without taking a core from it.
//
// While a promise of Dawn's is pending, its Node binding polls the device on every turn of the event loop, through the
// global `setImmediate`. That keeps one core busy; on a graphics card that does not matter, but a software adapter computes on
// the same cores: on two of them a token takes 1.6 times as long. So calls are made with a `setImmediate` that lets some
// time pass, in place for the time of Dawn's own calls only: no other code ever sees it. Should the binding change its
// ways, this does nothing.

import type { Wait } from "../kernels/gpu/device.ts";

/** A timer's shortest time. */
const POLL_MS = 1;

/** What takes no longer is polled for more often: a timer would make it late by a large part of itself. */
const SHORT_MS = 4;
const SHORT_POLL_MS = 0.2;

/** Milliseconds that the last wait took. */
let last = Number.POSITIVE_INFINITY;

/** Starts what will be waited for, and has Dawn poll for it now and then. */
export const pollRarely: Wait = async (start) => {
  const began = performance.now();
  const rest = last < SHORT_MS ? sleepBriefly : (poll: () => void) => setTimeout(poll, POLL_MS);
  try {
    return await withPolls(start, rest);
  } finally {
    last = performance.now() - began;
  }
};

/** Runs Dawn's own code with polls of ours. */
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
