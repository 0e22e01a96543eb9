// Waiting for a software adapter without taking a core from it.
//
// While a promise of Dawn's is pending, its Node binding polls the device on every turn of the event loop, through the
// global `setImmediate`. That keeps one core busy; on a graphics card nobody minds, but a software adapter computes on
// the same cores: on two of them a token takes 1.6 times as long. So calls are made with a `setImmediate` that lets a
// millisecond pass, in place for the time of Dawn's own calls only: no other code ever sees it. Should the binding
// change its ways, this does nothing.

import type { Wait } from "../kernels/device.ts";

/** Starts what will be waited for, and has Dawn poll for it once a millisecond. */
export const patiently: Wait = (start) => withSlowPolls(start);

function withSlowPolls<T>(call: () => T): T {
  const original = globalThis.setImmediate;
  const slow = (poll: () => void) => setTimeout(() => withSlowPolls(poll), 1);
  globalThis.setImmediate = slow as unknown as typeof setImmediate;
  try {
    return call();
  } finally {
    globalThis.setImmediate = original;
  }
}
