import { readFileSync } from "node:fs";
import { cpus } from "node:os";

/** The machine that a figure was measured on. */
export function machine(): string {
  const all = cpus();
  const name = `${all.length} × ${all[0]?.model ?? "unknown CPU"}`;
  return [name, `Node ${process.version}`, ...haltpoll()].join(", ");
}

/**
 * How long an idle core of a virtual machine polls for work before it halts (Linux's default:
 * 200000 ns): with 0, threads that synchronise often wait long for each other to wake.
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
