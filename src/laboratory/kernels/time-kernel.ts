// Times one kind of work: takes samples until enough time has passed, and reports their median.

import { type Dispatch, run } from "../../kernels/gpu/commands.ts";
import type { Device } from "../../kernels/gpu/device.ts";
import type { StepValues } from "../../kernels/gpu/params.ts";
import { Profiler } from "../../kernels/gpu/profiler.ts";

export interface Time {
  /** The median of the samples. */
  readonly us: number;
  /** Half the distance between their quartiles, as a share of the median. */
  readonly spread: number;
  /** The shortest. */
  readonly least: number;
}

/**
 * Does the work this many times in one submit, and returns the time of one: a single sample, or one
 * for each repeat.
 */
type Batch = (repeats: number) => Promise<readonly number[]>;

/**
 * The work is repeated to fill this time, since a submit itself costs about 0.1 ms, and its
 * completion is polled for.
 */
const SUBMIT_MS = 25;
const MAX_REPEATS = 512;
const MIN_SAMPLES = 5;

/** Takes samples for `ms` milliseconds, after it has found how long the work takes. */
export async function sample(batch: Batch, ms: number): Promise<Time> {
  let repeats = 1;
  // The first submit includes warm-up; the second gives a better estimate.
  for (let round = 0; round < 2; round++) {
    const began = performance.now();
    await batch(repeats);
    const each = (performance.now() - began) / repeats;
    repeats = Math.min(MAX_REPEATS, Math.max(1, Math.round(SUBMIT_MS / each)));
  }
  const samples: number[] = [];
  const began = performance.now();
  while (performance.now() - began < ms || samples.length < MIN_SAMPLES) {
    samples.push(...(await batch(repeats)));
  }
  samples.sort((a, b) => a - b);
  const quantile = (q: number) => samples[Math.round(q * (samples.length - 1))]!;
  const us = quantile(0.5);
  return { us, spread: (quantile(0.75) - quantile(0.25)) / 2 / us, least: quantile(0) };
}

/** By the host's clock: the wait for a submit, shared by its repeats. */
export function byWallClock(device: Device, submit: (repeats: number) => void): Batch {
  return async (repeats) => {
    const began = performance.now();
    submit(repeats);
    await device.done();
    return [(1000 * (performance.now() - began)) / repeats];
  };
}

/** Whether the GPU itself times a dispatch. */
export function hasClock(device: Device): boolean {
  return device.features.has("timestamp-query");
}

/**
 * The time of lists of dispatches that do the same, taken in turn. Their parameters have been
 * written.
 */
export async function timeDispatches(
  device: Device,
  variants: readonly (readonly Dispatch[])[],
  step: StepValues,
  ms: number,
): Promise<Time> {
  let turn = 0;
  const next = (repeats: number) =>
    Array.from({ length: repeats }, () => variants[turn++ % variants.length]!).flat();
  if (hasClock(device)) {
    const time = await sample(byTimestamps(device, variants[0]!, step, next), ms);
    // An adapter whose clock does not advance during a kernel cannot time it.
    if (time.us > 0) return time;
  }
  const submit = (repeats: number) => run(device, next(repeats), step);
  return sample(byWallClock(device, submit), ms);
}

/** By the GPU's clock: every dispatch is timed alone, and those of one list are added up. */
function byTimestamps(
  device: Device,
  one: readonly Dispatch[],
  step: StepValues,
  next: (repeats: number) => Dispatch[],
): Batch {
  const profiler = new Profiler(device);
  const passes = one.filter((dispatch) => dispatch.grid(step).every((count) => count > 0)).length;
  return async (repeats) => {
    const us: number[] = [];
    const commands = profiler.begin("", (times) => {
      for (let at = 0; at < times.length; at += passes) {
        us.push(1000 * times.slice(at, at + passes).reduce((sum, time) => sum + time, 0));
      }
    });
    commands.run(next(repeats), step);
    commands.submit();
    await profiler.report();
    return us;
  };
}
