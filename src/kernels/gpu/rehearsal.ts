// Drivers compile late. Mesa's software adapter compiles a pipeline when it is dispatched for the
// first time: for a small model that took 13 s, which looked like a slow first prompt. So each
// kernel runs once before it is needed, and this is reported as compiling. (A grid without
// workgroups would do, but Dawn warns of it.)

import { Commands, type Dispatch, type Grid } from "./commands.ts";
import type { Device } from "./device.ts";
import type { Kernel } from "./kernel.ts";

/** Called while kernels are compiled: how many are done, of how many. */
export type OnCompiled = (done: number, total: number) => void;

const rehearsed = new WeakSet<Kernel>();

/** One token, and one workgroup. */
const STEP = { tokens: 1 };
const ONE: Grid = [1, 1, 1];

/**
 * Waits until every kernel of some dispatches is compiled and has run once. They overwrite their
 * outputs with meaningless numbers: call it when these are not needed. Returns how many kernels
 * were new. Throws a `KernelError` if one does not compile, a `DeviceLostError` if the device is
 * lost.
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
    commands.run([{ ...dispatch, grid: () => ONE }], STEP);
    commands.submit();
    rehearsed.add(kernel);
    // Submit the next while this one runs: waiting for each would take longer than a warm driver
    // needs for all.
    const run = device.done().then(() => onCompiled(++done, fresh.size));
    run.catch(() => {}); // awaited below, unless a later kernel fails
    runs.push(run);
  }
  await Promise.all(runs);
  device.check();
  return done;
}
