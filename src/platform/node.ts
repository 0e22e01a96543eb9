// Node's side of the engine: Dawn, files, and the text of the shaders beside the compiled code.
// In this room: what depends on Node and the machine. Not in it: anything that a browser could run.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Wait } from "../kernels/gpu/device.ts";
import { describeAdapter, openGpu, requestAdapter } from "./dawn.ts";
import { pollRarely } from "./dawn-polling.ts";
import { openFile } from "./file.ts";
import { noKernelCache } from "./kernel-cache.ts";
import { fileMeasurements, measurementsFile } from "./measurements.ts";
import { NewFile } from "./write-file.ts";

const kernels = new URL("../kernels/", import.meta.url);

/** The text of a shader, such as "matrix/matvec". */
export function shaders(name: string): string {
  return readFileSync(new URL(`${name}.wgsl`, kernels), "utf8");
}

/** The small model that ships with the project. */
export const SHIPPED_MODEL: string = fileURLToPath(
  new URL("../../models/tinystories-4m.Q4_K_M.gguf", import.meta.url),
);

/**
 * Makes V8 collect garbage. A closed device keeps two threads and some megabytes of its driver
 * until the last of its JavaScript objects is collected; V8 counts only a few bytes for each, and
 * would leave dozens of devices.
 */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("globalThis.gc"); // a new context sees the flag
  setFlagsFromString("--no-expose-gc");
  if (typeof collect === "function") collect();
}

/**
 * The last Dawn opened, while it is still in use; a strong reference would keep the process from
 * ending.
 */
let opened: WeakRef<GPU> | undefined;

let isCacheChecked = false;

/**
 * Checks the cache of Mesa's driver, once a process; other drivers do not say where they cache
 * kernels.
 */
function cannotKeepKernels({ info }: GPUAdapter): string | undefined {
  if (isCacheChecked || !info.description.includes("Mesa")) return undefined;
  isCacheChecked = true;
  return noKernelCache();
}

export const nodePlatform = {
  /**
   * All engines alive share one Dawn: a new one would look for adapters, and print about them,
   * again.
   */
  openGpu(): GPU {
    if (opened) collectGarbage(); // objects of closed engines and lost devices
    const gpu = opened?.deref() ?? openGpu();
    opened = new WeakRef(gpu);
    return gpu;
  },
  requestAdapter: (gpu: GPU): Promise<GPUAdapter> => requestAdapter(gpu),
  describeAdapter,
  waitFor: (adapter: GPUAdapter): Wait =>
    adapter.info.isFallbackAdapter ? pollRarely : (start) => start(),
  openFile,
  createFile: (path: string): Promise<NewFile> => NewFile.create(path),
  shaders,
  measurements: fileMeasurements(measurementsFile),
  cannotKeepKernels,
  availableMemory: (adapter: GPUAdapter): number | undefined =>
    adapter.info.isFallbackAdapter ? process.availableMemory() : undefined,
};
