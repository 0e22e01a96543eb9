// The activations of a step: their sizes and buffers.

import {
  type CacheShape,
  partialRows,
  partialSize,
  rotatedSize,
} from "../../kernels/attention/head-shape.ts";
import {
  type Activations,
  activationBytes,
  createActivations,
} from "../../kernels/gpu/activations.ts";
import { bufferBytes, CapacityError, type Device } from "../../kernels/gpu/device.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import type { ModelConfig } from "./config.ts";
import type { HeadScratch, Scratch } from "./forward.ts";

/** Most bytes of logits computed at a time if many rows are wanted. */
const LOGITS_BYTES = 32 << 20;

/** Rows and width of activations, floats of plain buffers: one table for use and for planning. */
function scratchTable(
  config: ModelConfig,
  shape: CacheShape,
  chunk: number,
  bindingBytes?: number,
) {
  const { width: D, heads: H, kvHeads: G, headWidth: E, feedForward: F, vocabulary: V } = config;
  const most = config.isEncoder ? 1 : Math.floor(LOGITS_BYTES / (V * 4));
  const logitsRows = Math.max(1, Math.min(chunk, most));
  const qkv = [chunk, (H + 2 * G) * E] as const;
  return {
    activations: {
      x: [chunk, D],
      normed: [chunk, D],
      qkv,
      ...(config.traits.some(({ headNorms }) => headNorms !== undefined) ? { qkNormed: qkv } : {}),
      attended: [chunk, H * E],
      gateUp: [chunk, 2 * F],
      hidden: [chunk, F],
      headX: [logitsRows, D],
      headNormed: [logitsRows, D],
      headAttended: [logitsRows, H * E],
      logits: [logitsRows, V],
    } as Readonly<Record<string, readonly [number, number]>>,
    floats: {
      tokens: chunk,
      ...(config.positions ? { positions: chunk } : {}),
      rotated: rotatedSize(shape, chunk),
      partial: partialSize(shape, partialRows(shape, bindingBytes)),
    } as Readonly<Record<string, number>>,
  };
}

/** Bytes of a scratch, and the rows and bytes of its logits. */
export function scratchBytes(
  config: ModelConfig,
  shape: CacheShape,
  chunk: number,
): { readonly all: number; readonly logits: { readonly rows: number; readonly bytes: number } } {
  const { activations, floats } = scratchTable(config, shape, chunk);
  const sum = (sizes: number[]) => sizes.reduce((a, b) => a + b, 0);
  return {
    all:
      sum(Object.values(activations).map(([rows, width]) => activationBytes(rows, width))) +
      sum(Object.values(floats).map((count) => bufferBytes(count * 4))),
    logits: { rows: activations.logits![0], bytes: activationBytes(...activations.logits!) },
  };
}

/** Allocates scratch buffers for steps of at most `chunk` tokens. */
export async function createScratch(
  device: Device,
  config: ModelConfig,
  shape: CacheShape,
  chunk: number,
): Promise<{ readonly scratch: Omit<Scratch, "choices">; readonly head: HeadScratch }> {
  const table = scratchTable(config, shape, chunk, device.limits.maxStorageBufferBindingSize);
  const made = new Map<string, Activations>();
  for (const [label, [rows, width]] of Object.entries(table.activations)) {
    made.set(label, await createActivations(device, label, rows, width));
  }
  const buffers = new Map<string, GPUBuffer>();
  for (const [label, count] of Object.entries(table.floats)) {
    buffers.set(label, await createFloats(device, label, count, chunk));
  }
  const get = (label: string) => made.get(label)!;
  const scratch = {
    tokens: buffers.get("tokens")!,
    positions: buffers.get("positions"),
    x: get("x"),
    normed: get("normed"),
    qkv: get("qkv"),
    qkNormed: made.get("qkNormed") ?? get("qkv"),
    rotated: buffers.get("rotated")!,
    partial: buffers.get("partial")!,
    attended: get("attended"),
    gateUp: get("gateUp"),
    hidden: get("hidden"),
  };
  const head: HeadScratch = {
    x: get("headX"),
    normed: get("headNormed"),
    attended: get("headAttended"),
    gateUp: scratch.gateUp,
    hidden: scratch.hidden,
    logits: get("logits"),
  };
  return { scratch, head };
}

/** Allocates the plain scratch buffers for `chunk` tokens. */
function createFloats(
  device: Device,
  label: string,
  count: number,
  chunk: number,
): Promise<GPUBuffer> {
  const bytes = count * 4;
  const allowed = device.limits.maxStorageBufferBindingSize;
  if (bytes > allowed) {
    throw new CapacityError(
      `${label} of ${chunk} tokens needs ${bytes} bytes in one binding; this adapter allows ` +
        `${allowed}. Compute fewer tokens of a prompt at a time (--chunk).`,
    );
  }
  return device.createBuffer(label, bytes, USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC);
}
