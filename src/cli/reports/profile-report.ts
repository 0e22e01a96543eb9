// Where the GPU's time went, as a table.

import type { PhaseProfile } from "../../kernels/gpu/profiler.ts";
import { note } from "../terminal/terminal.ts";
import { table } from "./table.ts";

/**
 * One table a phase: kernels by their share of a step. What lies between them is the rest of it.
 */
export function profileTable({ phase, steps, gpuMs, kernels }: PhaseProfile): string {
  const row = (name: string, dispatches: number | string, ms: number) => [
    name,
    dispatches,
    (ms / steps).toFixed(3),
    `${((100 * ms) / gpuMs).toFixed(1)} %`,
  ];
  const inKernels = kernels.reduce((sum, { ms }) => sum + ms, 0);
  const dispatches = kernels.reduce((sum, kernel) => sum + kernel.dispatches, 0);
  const a = (count: number) => Number((count / steps).toFixed(2));
  const head = [phase, "dispatches", "ms a step", "share"];
  return table(head, [
    ...kernels.map((kernel) => row(kernel.kernel, a(kernel.dispatches), kernel.ms)),
    row("between them", "", gpuMs - inKernels),
    row(`all of ${steps === 1 ? "a step" : `${steps} steps`}`, a(dispatches), gpuMs),
  ]);
}

/** To stderr: beside any command's own result. */
export function printProfile(phases: readonly PhaseProfile[]): void {
  for (const phase of phases) note(`\n${profileTable(phase)}`);
}
