import { readFileSync } from "node:fs";
import { cpus } from "node:os";

/** Where a figure was measured: without it, it says nothing. */
export function machine(): string {
  const all = cpus();
  const name = `${all.length} × ${all[0]?.model ?? "unknown CPU"}`;
  return [name, `Node ${process.version}`, ...haltpoll()].join(", ");
}

/**
 * For how long an idle core of a virtual machine looks for work before it halts (Linux's default: 200000 ns): with 0, threads
 * that meet often wait long for each other to wake.
 */
function haltpoll(): string[] {
  const read = (path: string) => readFileSync(path, "utf8").trim();
  try {
    if (read("/sys/devices/system/cpu/cpuidle/current_governor") !== "haltpoll") return [];
    return [`haltpoll ${read("/sys/module/haltpoll/parameters/guest_halt_poll_ns")} ns`];
  } catch {
    return []; // another system
  }
}
