// All kernels of a selection, checked and timed, beside what the adapter copies and multiplies at
// most.

import { KernelLibrary, type ShaderSource } from "../../kernels/gpu/kernel.ts";
import { ParamBlock } from "../../kernels/gpu/params.ts";
import type { Watch } from "../watch.ts";
import { kernelCases, type Selection } from "./kernel-cases.ts";
import { measureAll, type Timing } from "./measure.ts";
import { measureRates, type Rates } from "./rates.ts";
import { hasClock } from "./time-kernel.ts";
import type { TunedDevice } from "./tuned-device.ts";
import { Workbench } from "./workbench.ts";

export interface KernelReport extends Rates {
  /** Whose clock the times are by. */
  readonly clock: "gpu" | "host";
  /**
   * By how many workgroups a product of one vector is shared, as was measured when this adapter was
   * met first.
   */
  readonly workgroups: number;
  /** The shape of the subgroup matrices that multiply several tokens, M x N x K, if they do. */
  readonly matrices: string | null;
  readonly timings: readonly Timing[];
}

/** Checks every kernel of a selection and times it for `ms` milliseconds. */
export async function reportKernels(
  { device, facts, usual }: TunedDevice,
  shaders: ShaderSource,
  selection: Selection,
  ms: number,
  watch: Watch = {},
): Promise<KernelReport> {
  const params = await ParamBlock.create(device, "params");
  const bench = new Workbench(facts, params, new KernelLibrary(device, shaders));
  const before = await measureRates(bench, ms);
  const timings = await measureAll(bench, kernelCases(selection, usual), ms, watch);
  const rates = watch.signal?.aborted ? before : await measureRates(bench, ms, before);
  return {
    clock: hasClock(device) ? "gpu" : "host",
    workgroups: bench.adapter.workgroups,
    matrices: bench.adapter.matrixShape ?? null,
    ...rates,
    timings,
  };
}
