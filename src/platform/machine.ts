import { cpus } from "node:os";

/** Where a figure was measured: without it, it says nothing. */
export function machine(): string {
  const all = cpus();
  return `${all.length} × ${all[0]?.model ?? "unknown CPU"}, Node ${process.version}`;
}
