// Measures where the GPU's time goes: every dispatch runs in its own compute pass, between two
// timestamps.

import { UserError } from "../../errors.ts";
import { Commands, type Dispatch, type Grid } from "./commands.ts";
import type { Device } from "./device.ts";
import { USAGE } from "./usage-flags.ts";

/** Timestamps that one set holds, two a dispatch: WebGPU's limit. */
const SET_SIZE = 4096;

/** All dispatches of a kernel over some steps. */
export interface KernelTime {
  /** The shader and its fragments, such as "matvec-cpu.q4-k.uniform.plain.plain.reduce-eight". */
  readonly kernel: string;
  readonly dispatches: number;
  readonly ms: number;
}

/** Steps of one phase, such as those of one token each. */
export interface PhaseProfile {
  readonly phase: string;
  readonly steps: number;
  /**
   * From the first timestamp of a submit to its last, summed: kernels and the gaps between them.
   */
  readonly gpuMs: number;
  /** The longest first. */
  readonly kernels: readonly KernelTime[];
}

interface Totals {
  steps: number;
  gpuMs: number;
  readonly kernels: Map<string, { dispatches: number; ms: number }>;
}

/** Adds up the times of commands by phase and kernel. */
export class Profiler {
  readonly #device: Device;
  readonly #phases = new Map<string, Totals>();
  readonly #pending = new Set<Promise<void>>();

  /** Throws a `UserError` if the adapter has no timestamps. */
  constructor(device: Device) {
    if (!device.features.has("timestamp-query")) {
      throw new UserError("This adapter cannot tell the time: a profile needs timestamp queries.");
    }
    this.#device = device;
  }

  /**
   * Commands that are timed; `onTimes` is called with the milliseconds of every dispatch, in the
   * order in which they ran.
   */
  begin(phase: string, onTimes?: (ms: readonly number[]) => void): Commands {
    let totals = this.#phases.get(phase);
    if (!totals) {
      totals = { steps: 0, gpuMs: 0, kernels: new Map() };
      this.#phases.set(phase, totals);
    }
    return new TimedCommands(this.#device, totals, this.#pending, onTimes);
  }

  /** The times since the last report, after all timestamps are read back. */
  async report(): Promise<PhaseProfile[]> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
    const report = [...this.#phases].map(([phase, { steps, gpuMs, kernels }]) => ({
      phase,
      steps,
      gpuMs,
      kernels: [...kernels]
        .map(([kernel, time]) => ({ kernel, ...time }))
        .sort((a, b) => b.ms - a.ms),
    }));
    this.#phases.clear();
    return report;
  }
}

class TimedCommands extends Commands {
  readonly #device: Device;
  readonly #totals: Totals;
  readonly #pending: Set<Promise<void>>;
  readonly #onTimes: ((ms: readonly number[]) => void) | undefined;
  readonly #sets: GPUQuerySet[] = [];
  readonly #kernels: string[] = [];

  constructor(
    device: Device,
    totals: Totals,
    pending: Set<Promise<void>>,
    onTimes: ((ms: readonly number[]) => void) | undefined,
  ) {
    super(device);
    this.#onTimes = onTimes;
    this.#device = device;
    this.#totals = totals;
    this.#pending = pending;
  }

  /** In a pass of its own, between two timestamps. */
  protected override dispatch(dispatch: Dispatch, grid: Grid): void {
    const at = (2 * this.#kernels.length) % SET_SIZE;
    if (at === 0) {
      this.#sets.push(this.#device.handle.createQuerySet({ type: "timestamp", count: SET_SIZE }));
    }
    this.#kernels.push(dispatch.kernel.name);
    const timestampWrites = {
      querySet: this.#sets.at(-1)!,
      beginningOfPassWriteIndex: at,
      endOfPassWriteIndex: at + 1,
    };
    this.beginPass({ timestampWrites });
    super.dispatch(dispatch, grid);
    this.endPass();
  }

  override submit(): void {
    const count = this.#kernels.length;
    if (count === 0) {
      super.submit();
      return;
    }
    const { handle } = this.#device;
    const size = this.#sets.length * SET_SIZE * 8;
    const usage = USAGE.QUERY_RESOLVE | USAGE.COPY_SRC;
    const resolved = handle.createBuffer({ label: "timestamps", size, usage });
    this.#sets.forEach((set, i) => {
      const used = Math.min(SET_SIZE, 2 * count - i * SET_SIZE);
      this.encoder.resolveQuerySet(set, 0, used, resolved, i * SET_SIZE * 8);
    });
    super.submit();
    const reading = this.#device
      .read(resolved, 0, 2 * count * 8)
      .then((bytes) => this.#add(new BigUint64Array(bytes)))
      .finally(() => {
        for (const set of this.#sets) set.destroy();
        resolved.destroy();
        this.#pending.delete(reading);
      });
    reading.catch(() => {}); // `report` rejects with it
    this.#pending.add(reading);
  }

  #add(times: BigUint64Array): void {
    const { kernels } = this.#totals;
    this.#totals.steps++;
    this.#totals.gpuMs += milliseconds(times[0]!, times.at(-1)!);
    const each = this.#kernels.map((_, i) => milliseconds(times[2 * i]!, times[2 * i + 1]!));
    this.#kernels.forEach((kernel, i) => {
      let total = kernels.get(kernel);
      if (!total) {
        total = { dispatches: 0, ms: 0 };
        kernels.set(kernel, total);
      }
      total.dispatches++;
      total.ms += each[i]!;
    });
    this.#onTimes?.(each);
  }
}

/** Between two timestamps in nanoseconds. */
function milliseconds(from: bigint, to: bigint): number {
  return Number(to - from) / 1e6;
}
