// Counts the GPU memory that a model takes, to the byte, before anything is allocated.

import { cacheBytes } from "../../context/cache/kv-cache.ts";
import { tokenBytes } from "../../context/positions/attention-cost.ts";
import { bytesOfNumber } from "../../kernels/attention/kv-types.ts";
import { CapacityError } from "../../kernels/gpu/device.ts";
import type { GgufFile } from "../gguf/gguf.ts";
import type { ModelConfig } from "../model/config.ts";
import { gpuBytesByFormat } from "../model/weights.ts";
import type { Setting } from "../options.ts";
import { planBytes } from "./plans.ts";

/** Exact bytes on the GPU. */
export interface MemoryPlan {
  readonly weights: number;
  /** The same by format, such as `{ Q4_K: 70123520, Q6_K: 15728640, F32: 76800 }`. */
  readonly weightsByFormat: Readonly<Record<string, number>>;
  readonly cache: number;
  /** Keys and values of one token, 2 L G E numbers; the cache holds whole pages of them. */
  readonly bytesPerToken: number;
  /** Activations, staging and parameters. */
  readonly scratch: number;
  readonly total: number;
  readonly context: number;
}

/** The bytes that loading a model with a setting allocates. */
export function memoryPlan(
  file: GgufFile,
  config: ModelConfig,
  { cache, chunk, context }: Setting,
): MemoryPlan {
  const weightsByFormat = gpuBytesByFormat(file, config);
  const weights = Object.values(weightsByFormat).reduce((a, b) => a + b, 0);
  const pages = cache.groups
    .map((group) => cacheBytes({ ...cache, ...group, chunk }))
    .reduce((a, b) => a + b, 0);
  const scratch = planBytes(config, cache, chunk);
  return {
    weights,
    weightsByFormat,
    cache: pages,
    bytesPerToken: tokenBytes(config, bytesOfNumber(cache.shape.kvType)),
    scratch,
    total: weights + pages + scratch,
    context,
  };
}

/**
 * Throws a `CapacityError` if a plan takes more bytes than are available. A software adapter
 * allocates from the machine's memory, and a system that overcommits would later kill the process
 * without a message.
 */
export function checkMemory({ weights, cache, total }: MemoryPlan, available: number): void {
  if (total <= available) return;
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
  throw new CapacityError(
    `The model takes ${gigabytes(total)} (weights ${gigabytes(weights)}, cache ${gigabytes(cache)}), and this machine has ` +
      `${gigabytes(available)} of memory left: free some, or take a smaller model, context, attention window or cache type.`,
  );
}
