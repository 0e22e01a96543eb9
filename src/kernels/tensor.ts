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

/** The size of every uniform binding of a vector: what all adapters allow, and `inputs/uniform.wgsl` declares. */
export const UNIFORM_BYTES = 65536;

/** Bytes of activations [rows, width]: no less than a uniform binding, since a matvec may read them through one. */
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
  const buffer = await device.createBuffer(label, size, STORAGE | USAGE.UNIFORM);
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

/** Bytes of a file that are read, regrouped and written at a time. */
const SLICE_BYTES = 1 << 20;

/** Bytes on their way to the GPU at a time. */
const PENDING_BYTES = 16 << 20;

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
  const rows = format.planes.map((plane) => planeRowBytes(format, plane, k));
  const largest = Math.max(...rows);
  if (n * largest <= binding && weightBytes(format, n, k) <= maxBufferSize) return n;
  // The sizes in front and the space between planes come to less than an alignment each.
  const room = maxBufferSize - BINDING_ALIGNMENT * (rows.length + 1);
  const fit = Math.min(binding / largest, room / rows.reduce((sum, bytes) => sum + bytes, 0));
  return Math.max(0, Math.floor(fit / 8) * 8);
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

/** Uploads one tensor by itself. */
export async function uploadWeights(
  device: Device,
  weights: Weights,
  read: TensorReader,
  onBytes?: (bytes: number) => void,
): Promise<void> {
  const uploader = new Uploader(device);
  await uploader.upload(weights, read, onBytes);
  await uploader.finish();
}

/**
 * Uploads tensors slice by slice, regrouping their blocks into planes on the way. Host memory is bounded by a few
 * slices whatever the size of the tensors, and the same slices serve all of them: to touch fresh memory for the first
 * time takes longer than to read, regroup and write what goes through it.
 */
export class Uploader {
  readonly #device: Device;
  /** A slice of the file, and the one that is read ahead meanwhile. */
  readonly #files = [new Slice(), new Slice()] as const;
  /** The planes of a slice. */
  readonly #planes = new Slice();
  /** Bytes written since the queue was last waited for. */
  #pending = 0;

  constructor(device: Device) {
    this.#device = device;
  }

  /** Takes the data of a tensor from `read`. It has arrived on the GPU after `finish`. */
  async upload(
    { format, k, parts }: Weights,
    read: TensorReader,
    onBytes: (bytes: number) => void = () => {},
  ): Promise<void> {
    for (const part of parts) await this.#uploadPart(format, k, part, read, onBytes);
  }

  /** Waits until the GPU has everything. */
  async finish(): Promise<void> {
    this.#pending = 0;
    this.#device.queue.submit([]);
    await this.#device.done();
    this.#device.check();
  }

  async #uploadPart(
    format: WeightFormat,
    k: number,
    { firstRow, rows, bindings }: WeightPart,
    read: TensorReader,
    onBytes: (bytes: number) => void,
  ): Promise<void> {
    const fileRow = rowBytes(format, k);
    // A multiple of eight rows keeps the slice of every plane, two bytes a block or more, aligned to the four bytes
    // that a queue write wants.
    const sliceRows = Math.max(8, Math.floor(SLICE_BYTES / fileRow / 8) * 8);
    const readSlice = (at: number): Promise<Uint16Array> => {
      const bytes = Math.min(sliceRows, rows - at) * fileRow;
      const slice = this.#files[(at / sliceRows) % 2]!.take(bytes);
      const reading = read((firstRow + at) * fileRow, slice).then(
        () => new Uint16Array(slice.buffer, 0, bytes >> 1),
      );
      // Whoever awaits it hears of a failure; but an earlier one may end the upload before anyone does.
      reading.catch(() => {});
      return reading;
    };

    let next = readSlice(0);
    for (let at = 0; at < rows; at += sliceRows) {
      const count = Math.min(sliceRows, rows - at);
      const file = await next;
      if (at + sliceRows < rows) next = readSlice(at + sliceRows);
      for (const { name, row, halves } of this.#regroup(format, k, file, count)) {
        const { buffer, offset } = bindings[name]!;
        const size = Math.ceil((count * row) / 4) * 4;
        const to = offset! + at * row;
        this.#device.queue.writeBuffer(buffer, to, halves.buffer, halves.byteOffset, size);
        this.#pending += size;
      }
      onBytes(count * fileRow);
      // Dawn may keep a copy of what was written until it is done: waiting bounds that memory.
      if (this.#pending > PENDING_BYTES) await this.finish();
    }
  }

  /** `count` rows of a file as planes, in memory that the next call uses again. */
  #regroup(format: WeightFormat, k: number, file: Uint16Array, count: number) {
    const blocks = k / format.blockWeights;
    const rows = format.planes.map((plane) => planeRowBytes(format, plane, k));
    const sizes = rows.map((row) => Math.ceil((count * row) / 16) * 16);
    const memory = this.#planes.take(sizes.reduce((sum, size) => sum + size, 0));
    let end = 0;
    const planes = format.planes.map(({ name }, i) => {
      const halves = new Uint16Array(memory.buffer, end, sizes[i]! >> 1);
      end += sizes[i]!;
      return { name, row: rows[i]!, halves };
    });
    const padded = format.planes.some((plane, i) => rows[i] !== blocks * plane.blockBytes);
    if (!padded) {
      const targets = planes.map(({ halves }) => halves);
      format.regroup(file, count * blocks, targets);
      return planes;
    }
    memory.fill(0); // between the rows
    const fileRow = rowBytes(format, k) >> 1;
    for (let r = 0; r < count; r++) {
      const targets = planes.map(({ row, halves }) =>
        halves.subarray((r * row) >> 1, ((r + 1) * row) >> 1),
      );
      format.regroup(file.subarray(r * fileRow, (r + 1) * fileRow), blocks, targets);
    }
    return planes;
  }
}

/** Memory that is used again and again, and grows where more is asked for. */
class Slice {
  #bytes = new Uint8Array(0);

  take(size: number): Uint8Array<ArrayBuffer> {
    if (this.#bytes.length < size) this.#bytes = new Uint8Array(size);
    return this.#bytes.subarray(0, size);
  }
}
