// Measures the highest rates of an adapter: bytes copied and numbers multiplied in a second, in the
// same run as the kernels that are compared with them. The shortest times count.

import type { Device } from "../../kernels/gpu/device.ts";
import { bufferBinding, Dispatcher } from "../../kernels/gpu/dispatcher.ts";
import { KernelError } from "../../kernels/gpu/kernel.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import { byWallClock, sample, timeDispatches } from "./time-kernel.ts";
import type { Workbench } from "./workbench.ts";

/** The highest rates measured so far. */
export interface Rates {
  readonly copyGigabytesPerSecond: number;
  readonly multiplyGigaPerSecond: number;
}

/**
 * Measures both rates. Other load on the machine lowers them, so the higher of `before` and now
 * count.
 */
export async function measureRates(bench: Workbench, ms: number, before?: Rates): Promise<Rates> {
  const [copy, multiply] = [await copyRate(bench.device, ms), await multiplyRate(bench, ms)];
  return {
    copyGigabytesPerSecond: Math.max(copy, before?.copyGigabytesPerSecond ?? 0),
    multiplyGigaPerSecond: Math.max(multiply, before?.multiplyGigaPerSecond ?? 0),
  };
}

/** More than caches hold, if the adapter allows it. */
const COPY_BYTES = 128 * 2 ** 20;

/**
 * Bytes read and bytes written, together, in a nanosecond: gigabytes in a second. The copy is
 * checked.
 */
async function copyRate(device: Device, ms: number): Promise<number> {
  const bytes = Math.floor(Math.min(COPY_BYTES, device.limits.maxBufferSize) / 16) * 16;
  const usage = USAGE.COPY_SRC | USAGE.COPY_DST;
  const from = await device.createBuffer("copied from", bytes, usage);
  const to = await device.createBuffer("copied to", bytes, usage);
  // Pages of memory that were never written may all be one.
  const part = Uint32Array.from({ length: 2 ** 18 }, (_, i) => Math.imul(i + 1, 0x9e3779b9));
  for (let at = 0; at < bytes; at += part.byteLength) {
    device.queue.writeBuffer(from, at, part, 0, Math.min(part.length, (bytes - at) / 4));
  }
  const submit = (repeats: number) => {
    const encoder = device.handle.createCommandEncoder();
    for (let i = 0; i < repeats; i++) encoder.copyBufferToBuffer(from, 0, to, 0, bytes);
    device.queue.submit([encoder.finish()]);
  };
  const { least } = await sample(byWallClock(device, submit), ms);
  const end = { offset: bytes - 16, size: 16 };
  const [sent, arrived] = [
    new Uint32Array(await device.read(from, end.offset, end.size)),
    new Uint32Array(await device.read(to, end.offset, end.size)),
  ];
  if (sent.some((word, i) => word === 0 || word !== arrived[i])) {
    throw new KernelError("A copy of a buffer does not hold what was copied.");
  }
  device.release(from);
  device.release(to);
  return (2 * bytes) / least / 1000;
}

const GROUPS = 4096;
const LANES = 64;
const CHAINS = 2; // c0 and c1 in multiply-rate.wgsl
const UNROLLED = 16; // UNROLLED there
/** Sums stay exact up to this, and some drivers end loops of more than 65535 steps. */
const MAX_STEPS = 16384;
/** Long enough for an adapter to raise its clock, and for the rest of a dispatch not to count. */
const DISPATCH_US = 10_000;

/** Multiply-adds in a nanosecond: thousands of millions in a second. */
async function multiplyRate(bench: Workbench, ms: number): Promise<number> {
  const { device } = bench;
  const added = [1, 2, 3, 4];
  const factors = await bench.buffer(Float32Array.of(1, 1, 1, 1, ...added));
  const sums = await bench.buffer(new Float32Array(4 * GROUPS * LANES));
  const dispatch = new Dispatcher(bench.library, bench.params).dispatch({
    label: "multiply-rate",
    shader: "adapter/multiply-rate",
    overrides: { LANES },
    bindings: { factors: bufferBinding(factors), sums: bufferBinding(sums) },
    grid: () => [GROUPS, 1, 1],
  });
  const time = async (steps: number, ms: number) =>
    (await timeDispatches(device, [[dispatch]], await bench.prepare({ steps }), ms)).least;
  let steps = 1;
  while (steps < MAX_STEPS && (await time(steps, 0)) < DISPATCH_US) steps *= 4;
  const least = await time(steps, ms);
  // Every chain begins at its number, and has added as often as there were steps.
  const expected = added.map((b) => 0 + 1 + CHAINS * UNROLLED * steps * b);
  const found = await bench.readFloats(sums);
  if (found.some((sum, i) => sum !== expected[i % 4])) {
    throw new KernelError("multiply-rate does not compute what it should.");
  }
  bench.release(factors, sums);
  return (GROUPS * LANES * CHAINS * 4 * UNROLLED * steps) / least / 1000;
}
