// Activations: rows of f32 numbers on the GPU.

import { CapacityError, type Device } from "./device.ts";
import { USAGE } from "./usage-flags.ts";

/** Numbers a chunk, the unit in which kernels read rows. */
export const CHUNK = 32;

/** Chunks a row of `k` numbers: a row's last chunk may be partly empty. */
export function chunksOf(k: number): number {
  return Math.ceil(k / CHUNK);
}

/**
 * f32 activations [rows, width], last axis fastest. A row is padded with zeros to whole chunks, so
 * that a kernel that reads rows by chunks needs no code for a tail.
 */
export interface Activations {
  readonly label: string;
  readonly buffer: GPUBuffer;
  readonly rows: number;
  readonly width: number;
  /** Floats from a row to the next. */
  readonly stride: number;
}

/** Floats from one row of activations to the next. */
export function strideOf(width: number): number {
  return chunksOf(width) * CHUNK;
}

/**
 * The size of every uniform binding of a vector: all adapters allow it, and
 * `cpu/inputs/uniform.wgsl` declares it.
 */
export const UNIFORM_BYTES = 65536;

/**
 * Bytes of activations [rows, width]: no less than a uniform binding, since a matvec may read them
 * through one.
 */
export function activationBytes(rows: number, width: number): number {
  return Math.max(rows * strideOf(width) * 4, UNIFORM_BYTES);
}

export async function createActivations(
  device: Device,
  label: string,
  rows: number,
  width: number,
): Promise<Activations> {
  const stride = strideOf(width);
  const bytes = rows * stride * 4;
  if (bytes > device.limits.maxStorageBufferBindingSize) {
    const allowed = device.limits.maxStorageBufferBindingSize;
    throw new CapacityError(
      `${label} [${rows}, ${width}] needs ${bytes} bytes in one binding; this adapter allows ${allowed}.`,
    );
  }
  const size = activationBytes(rows, width);
  const usage = USAGE.STORAGE | USAGE.UNIFORM | USAGE.COPY_DST | USAGE.COPY_SRC;
  const buffer = await device.createBuffer(label, size, usage);
  return { label, buffer, rows, width, stride };
}
