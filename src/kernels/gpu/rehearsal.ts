// Drivers compile late. Mesa's software adapter turns a pipeline into machine code when it is
// dispatched for the first time: the kernels of a small model took 13 s then, as if its first
// prompt were that slow. So each kernel runs once before it is needed, and what that takes is
// reported as what it is. (A grid without workgroups would do, but Dawn warns of it.)

import { Commands, type Dispatch } from "./commands.ts";
import type { Device } from "./device.ts";
import type { Kernel } from "./kernel.ts";

/** Hears of kernels while they are compiled: how many are done, of how many. */
export type OnCompiled = (done: number, total: number) => void;

const rehearsed = new WeakSet<Kernel>();

/** One token; what attention does for it follows from this, or from the step before. */
const STEP = { tokens: 1 };

/**
 * Waits until every kernel of some dispatches is compiled and has run once. What they write may be
 * anything: call it when nothing that they write is still needed. Returns how many kernels were
 * new. Throws a `KernelError` if one does not compile, a `DeviceLostError` if the device is lost.
 */
export async function rehearse(
  device: Device,
  dispatches: readonly Dispatch[],
  onCompiled: OnCompiled = () => {},
): Promise<number> {
  const fresh = new Map<Kernel, Dispatch>();
  for (const dispatch of dispatches) {
    if (!rehearsed.has(dispatch.kernel)) fresh.set(dispatch.kernel, dispatch);
  }
  if (fresh.size > 0) onCompiled(0, fresh.size);
  let done = 0;
  const runs: Promise<void>[] = [];
  for (const [kernel, dispatch] of fresh) {
    await kernel.ready;
    const commands = new Commands(device);
    commands.run([dispatch], STEP);
    commands.submit();
    rehearsed.add(kernel);
    // The next is submitted while this one runs: to wait for each would cost more than a warm
    // driver takes for all.
    const run = device.done().then(() => onCompiled(++done, fresh.size));
    run.catch(() => {}); // heard below, unless a later kernel does not compile
    runs.push(run);
  }
  await Promise.all(runs);
  device.check();
  return done;
}
