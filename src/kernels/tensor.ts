// Tensors on the GPU: activations, and weights in the format of their file.

import { BINDING_ALIGNMENT, CapacityError, type Device } from "./device.ts";
import { CHUNK, chunksOf, type Plane, rowBytes, type WeightFormat } from "./formats/format.ts";
import { USAGE } from "./usage.ts";

const STORAGE = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;

/**
 * f32 activations [rows, width], last axis fastest. A row is padded with zeros to whole chunks, so that a kernel that
 * reads a row of weights by chunks never meets a tail.
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
  const buffer = await device.createBuffer(label, bytes, STORAGE);
  return { label, buffer, rows, width, stride };
}

/** Rows [firstRow, firstRow + rows) of a weight tensor, in buffers small enough to be bound. */
export interface WeightPart {
  readonly firstRow: number;
  readonly rows: number;
  /** A binding for each plane of the format, and `matrix`, the sizes that kernels read. */
  readonly bindings: Readonly<Record<string, GPUBufferBinding>>;
}

/** A weight tensor [n, k] as its file packs it: y = W x takes k numbers to n. */
export interface Weights {
  readonly label: string;
  readonly format: WeightFormat;
  readonly n: number;
  readonly k: number;
  readonly parts: readonly WeightPart[];
  readonly bytes: number;
}

/** Reads `into.length` bytes from byte `offset` of a tensor's data in the file. */
export type TensorReader = (offset: number, into: Uint8Array) => Promise<void>;

/** Bytes of file that are in host memory at a time while a tensor is uploaded. */
const SLICE_BYTES = 4 << 20;

/** Bytes of a row in a plane. */
function planeRowBytes(format: WeightFormat, plane: Plane, k: number): number {
  const bytes = (k / format.blockWeights) * plane.blockBytes;
  const align = plane.rowAlign ?? 1;
  return Math.ceil(bytes / align) * align;
}

/** Bytes on the GPU of a tensor [n, k] in one part: its sizes, then its planes. */
export function weightBytes(format: WeightFormat, n: number, k: number): number {
  const planes = format.planes.map((plane) => n * planeRowBytes(format, plane, k));
  return [0, ...planes].reduce((sum, bytes) => sum + alignBinding(Math.max(bytes, 1)), 0);
}

function alignBinding(bytes: number): number {
  return Math.ceil(bytes / BINDING_ALIGNMENT) * BINDING_ALIGNMENT;
}

/** The most rows of a tensor that fit the limits of one part; a multiple of 8 unless the whole tensor fits. */
export function rowsPerPart(device: Device, format: WeightFormat, n: number, k: number): number {
  const { maxStorageBufferBindingSize: binding, maxBufferSize } = device.limits;
  const largest = Math.max(...format.planes.map((plane) => planeRowBytes(format, plane, k)));
  const whole = weightBytes(format, n, k) / n;
  const fit = Math.floor(Math.min(binding / largest, maxBufferSize / whole));
  return fit >= n ? n : Math.floor(fit / 8) * 8;
}

/** Allocates a weight tensor [n, k], in as many parts as the limits ask for. Its data comes with `uploadWeights`. */
export async function createWeights(
  device: Device,
  label: string,
  format: WeightFormat,
  n: number,
  k: number,
): Promise<Weights> {
  const perPart = rowsPerPart(device, format, n, k);
  if (perPart < 1) {
    throw new CapacityError(
      `${label}: eight rows of ${k} weights exceed what this adapter can bind.`,
    );
  }
  const parts: WeightPart[] = [];
  let bytes = 0;
  for (let firstRow = 0; firstRow < n; firstRow += perPart) {
    const rows = Math.min(perPart, n - firstRow);
    const name = perPart < n ? `${label} rows ${firstRow} to ${firstRow + rows - 1}` : label;
    const size = weightBytes(format, rows, k);
    const buffer = await device.createBuffer(name, size, STORAGE | USAGE.UNIFORM);
    bytes += size;
    // struct Matrix of formats/unpack.wgsl, in front of the planes
    const matrix = new Uint32Array([rows, k, chunksOf(k), firstRow, strideOf(n), 0, 0, 0]);
    device.queue.writeBuffer(buffer, 0, matrix);
    const bindings: Record<string, GPUBufferBinding> = {
      matrix: { buffer, offset: 0, size: matrix.byteLength },
    };
    let offset = BINDING_ALIGNMENT;
    for (const plane of format.planes) {
      const size = Math.ceil((rows * planeRowBytes(format, plane, k)) / 16) * 16;
      bindings[plane.name] = { buffer, offset, size };
      offset += alignBinding(size);
    }
    parts.push({ firstRow, rows, bindings });
  }
  return { label, format, n, k, parts, bytes };
}

/**
 * Uploads the data of a weight tensor slice by slice, regrouping its blocks into planes on the way. Host memory is
 * bounded by a few slices whatever the size of the tensor.
 */
export async function uploadWeights(
  device: Device,
  { format, k, parts }: Weights,
  read: TensorReader,
  onBytes: (bytes: number) => void = () => {},
): Promise<void> {
  for (const part of parts) await uploadPart(device, format, k, part, read, onBytes);
}

async function uploadPart(
  device: Device,
  format: WeightFormat,
  k: number,
  { firstRow, rows, bindings }: WeightPart,
  read: TensorReader,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const fileRow = rowBytes(format, k);
  const blocksPerRow = k / format.blockWeights;
  // A multiple of four rows keeps the slice of every plane, two bytes a block or more, aligned to the four bytes that
  // a queue write wants.
  const sliceRows = Math.max(8, Math.floor(SLICE_BYTES / fileRow / 8) * 8);
  const slice = new Uint8Array(Math.min(rows, sliceRows) * fileRow + 1);
  const targets = format.planes.map((plane) => {
    const row = planeRowBytes(format, plane, k);
    return {
      ...plane,
      row,
      halves: new Uint16Array((Math.ceil((Math.min(rows, sliceRows) * row) / 16) * 16) / 2),
    };
  });
  for (let at = 0; at < rows; at += sliceRows) {
    const count = Math.min(sliceRows, rows - at);
    const file = slice.subarray(0, count * fileRow);
    await read((firstRow + at) * fileRow, file);
    const halves = new Uint16Array(slice.buffer, 0, (count * fileRow) >> 1);
    const padded = targets.some(({ row, blockBytes }) => row !== blocksPerRow * blockBytes);
    if (!padded) {
      format.regroup(
        halves,
        count * blocksPerRow,
        targets.map((target) => target.halves),
      );
    } else {
      for (let r = 0; r < count; r++) {
        const from = halves.subarray((r * fileRow) >> 1, ((r + 1) * fileRow) >> 1);
        format.regroup(
          from,
          blocksPerRow,
          targets.map(({ row, halves }) => halves.subarray((r * row) >> 1, ((r + 1) * row) >> 1)),
        );
      }
    }
    for (const { name, row, halves } of targets) {
      const { buffer, offset } = bindings[name]!;
      const size = Math.ceil((count * row) / 4) * 4;
      device.queue.writeBuffer(buffer, offset! + at * row, halves.buffer, 0, size);
    }
    onBytes(count * fileRow);
    // Dawn keeps a copy of what was written until it has been submitted and done: waiting bounds that memory.
    device.queue.submit([]);
    await device.queue.onSubmittedWorkDone();
    device.check();
  }
}
