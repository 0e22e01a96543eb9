// Checks a kernel against reference.ts, times it, and checks it again: a wrong kernel gets no time.

import { KernelError } from "../../kernels/gpu/kernel.ts";
import { nmse } from "../../numbers.ts";
import type { Watch } from "../watch.ts";
import type { KernelCase, PreparedCase } from "./kernel-case.ts";
import { timeDispatches } from "./time-kernel.ts";
import type { Workbench } from "./workbench.ts";

/** Tolerance of the normalised square error: f32 stays far below. */
const TOLERANCE = 1e-9;

export interface Timing {
  readonly kernel: string;
  /**
   * The shader and its fragments that this adapter gets, such as
   * "matvec.q4-k.storage.plain.plain.reduce".
   */
  readonly shader: string;
  readonly format: string;
  readonly shape: string;
  /**
   * The largest difference to what is expected, relative to the root of the mean square; undefined
   * if there is NaN.
   */
  readonly maxError: number | null;
  /** Why the result is wrong. */
  readonly wrong: string | null;
  /** The median, and half the distance between the quartiles as a share of it. */
  readonly us: number | null;
  readonly spread: number | null;
  readonly gigabytesPerSecond: number | null;
  /** Multiply-adds; undefined if the kernel's work is not multiplication. */
  readonly multiplyGigaPerSecond: number | null;
}

/** Measures one case after the other. */
export async function measureAll(
  bench: Workbench,
  cases: readonly KernelCase[],
  ms: number,
  { onProgress, signal }: Watch = {},
): Promise<Timing[]> {
  onProgress?.(0, cases.length);
  const timings: Timing[] = [];
  for (const one of cases) {
    if (signal?.aborted) break;
    timings.push(await measure(bench, one, ms));
    onProgress?.(timings.length, cases.length);
  }
  return timings;
}

/** Sets a case up, checks and times it for `ms` milliseconds, and frees everything. */
export async function measure(bench: Workbench, one: KernelCase, ms: number): Promise<Timing> {
  const prepared = await one.prepare(bench);
  try {
    const { variants, inPlace } = prepared;
    const step = await bench.run(variants[0]!, prepared.step);
    const expected = prepared.expected();
    const { kernel, format, shape } = one;
    const used = variants[0]!.filter((dispatch) => dispatch.grid(step).every((n) => n > 0));
    const shader = used.map((dispatch) => dispatch.kernel.name).join(" + ");
    const named = { kernel, shader, format, shape };
    const untimed = {
      us: null,
      spread: null,
      gigabytesPerSecond: null,
      multiplyGigaPerSecond: null,
    };
    const first = await check(one, prepared, expected);
    if (first.wrong !== null) return { ...named, ...first, ...untimed };
    const { us, spread } = await timeDispatches(bench.device, variants, step, ms);
    // The timed runs have their own results: from other copies, and many at once.
    const last = inPlace ? first : await check(one, prepared, expected);
    if (last.wrong !== null) return { ...named, ...last, ...untimed };
    return {
      ...named,
      ...last,
      us,
      spread,
      gigabytesPerSecond: one.bytes / us / 1000,
      multiplyGigaPerSecond: one.multiplies === undefined ? null : one.multiplies / us / 1000,
    };
  } finally {
    prepared.release();
    bench.device.check();
  }
}

async function check(
  { tolerance = TOLERANCE }: KernelCase,
  prepared: PreparedCase,
  expected: ArrayLike<number>,
): Promise<Pick<Timing, "maxError" | "wrong">> {
  let result: Float32Array;
  try {
    result = await prepared.result();
  } catch (error) {
    if (error instanceof KernelError) return { maxError: null, wrong: error.message };
    throw error;
  }
  if (result.length !== expected.length) {
    return { maxError: null, wrong: `${result.length} numbers in place of ${expected.length}` };
  }
  let [total, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    total += expected[i]! ** 2;
    largest = Math.max(largest, Math.abs(result[i]! - expected[i]!)); // NaN stays NaN
  }
  const maxError = largest / Math.sqrt(total / expected.length);
  const error = nmse(result, expected);
  // Written so that NaN fails, too.
  if (error <= tolerance) return { maxError, wrong: null };
  return Number.isFinite(error)
    ? { maxError, wrong: `normalised square error ${error.toExponential(1)}` }
    : { maxError: null, wrong: "NaN or infinity" };
}
