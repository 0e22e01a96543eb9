// Node's side of the engine: Dawn, files, and the text of the shaders beside the compiled code.

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
 * Has V8 collect its garbage. A closed device keeps two threads and some megabytes of its driver until the last of its
 * JavaScript objects is collected; V8 sees a few bytes of each, and would leave dozens of them.
 */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("globalThis.gc"); // a new context has what flags say
  setFlagsFromString("--no-expose-gc");
  if (typeof collect === "function") collect();
}

/** The last one opened, while anything still uses it; a strong reference would keep the process from ending. */
let opened: WeakRef<GPU> | undefined;

let isCacheChecked = false;

/** Of Mesa's drivers, once a process; where others keep their kernels they do not tell. */
function cannotKeepKernels({ info }: GPUAdapter): string | undefined {
  if (isCacheChecked || !info.description.includes("Mesa")) return undefined;
  isCacheChecked = true;
  return noKernelCache();
}

export const nodePlatform = {
  /** One Dawn for all engines that are alive together: each new one would look for adapters, and say so, again. */
  openGpu(): GPU {
    if (opened) collectGarbage(); // what engines that are closed, or lost their device, have left
    const gpu = opened?.deref() ?? openGpu();
    opened = new WeakRef(gpu);
    return gpu;
  },
  requestAdapter: (gpu: GPU): Promise<GPUAdapter> => requestAdapter(gpu),
  describeAdapter,
  waitFor: (adapter: GPUAdapter): Wait =>
    adapter.info.isFallbackAdapter ? pollRarely : (start) => start(),
  openFile,
  shaders,
  measurements: fileMeasurements(measurementsFile),
  cannotKeepKernels,
  availableMemory: (adapter: GPUAdapter): number | undefined =>
    adapter.info.isFallbackAdapter ? process.availableMemory() : undefined,
};
