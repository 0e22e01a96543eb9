// Uploads weights from a file to the GPU slice by slice: reads, regroups into planes, writes.

import { EIGHT } from "../adapter/adapter.ts";
import { CHUNK } from "../gpu/activations.ts";
import type { Device } from "../gpu/device.ts";
import { type Plane, rowBytes, SUPER } from "./formats/format.ts";
import { placesOf, planeRowBytes, planeUnits } from "./layout.ts";
import { type PlaneMemory, writePlane } from "./plane-memory.ts";
import type { WeightPart, Weights } from "./tensor.ts";

/** Reads `into.length` bytes from byte `offset` of a tensor's data in the file. */
export type TensorReader = (offset: number, into: Uint8Array) => Promise<void>;

/** Bytes of a file that are read, regrouped and written at a time. */
const SLICE_BYTES = 1 << 20;

/** Most bytes in flight to the GPU. */
const PENDING_BYTES = 4 << 20;

/** The part of a plane that a slice of a file holds: rows of `row` bytes. */
interface PlaneSlice {
  readonly plane: Plane;
  readonly memory: PlaneMemory;
  readonly row: number;
  readonly words: Uint32Array<ArrayBuffer>;
}

/** Uploads a single tensor. */
export async function uploadWeights(
  device: Device,
  weights: Weights,
  read: TensorReader,
  onBytes?: (bytes: number) => void,
): Promise<void> {
  const uploader = new Uploader(device);
  await uploader.upload(weights, 0, weights.n, read, onBytes);
  await uploader.finish();
}

/**
 * Uploads tensors slice by slice, regrouping their blocks into planes on the way. Host memory is
 * bounded by a few slices for tensors of any size, and all tensors use the same slices: touching
 * fresh memory for the first time takes longer than to read, regroup and write the data in it.
 */
export class Uploader {
  readonly #device: Device;
  /** A slice of the file, and the one that is read ahead meanwhile. */
  readonly #files = [new Slice(), new Slice()] as const;
  /** The planes of a slice. */
  readonly #planes = new Slice();
  /** The part of a slice for one super-block of a plane, interleaved. */
  readonly #run = new Slice();
  /** Bytes written since the queue was last waited for. */
  #pending = 0;

  constructor(device: Device) {
    this.#device = device;
  }

  /**
   * Uploads rows [firstRow, firstRow + n), those of one tensor, from `read`. They are on the GPU
   * after `finish`.
   */
  async upload(
    { k, parts }: Weights,
    firstRow: number,
    n: number,
    read: TensorReader,
    onBytes: (bytes: number) => void = () => {},
  ): Promise<void> {
    for (const part of parts) {
      const from = Math.max(part.firstRow, firstRow);
      const end = Math.min(part.firstRow + part.rows, firstRow + n);
      if (from >= end) continue;
      const skipped = (from - firstRow) * rowBytes(part.format, k);
      const readHere: TensorReader = (offset, into) => read(skipped + offset, into);
      await this.#uploadRows(k, part, from - part.firstRow, end - from, readHere, onBytes);
    }
  }

  /** Waits until the GPU has everything. */
  async finish(): Promise<void> {
    this.#pending = 0;
    this.#device.queue.submit([]);
    await this.#device.done();
    this.#device.check();
  }

  /** Rows [first, first + rows) of a part, first a multiple of eight. */
  async #uploadRows(
    k: number,
    part: WeightPart,
    first: number,
    rows: number,
    read: TensorReader,
    onBytes: (bytes: number) => void,
  ): Promise<void> {
    const fileRow = rowBytes(part.format, k);
    // Multiples of eight rows, since eight may be interleaved.
    const sliceRows = Math.max(8, Math.floor(SLICE_BYTES / fileRow / 8) * 8);
    const readSlice = (at: number): Promise<Uint8Array> => {
      const bytes = Math.min(sliceRows, rows - at) * fileRow;
      const slice = this.#files[(at / sliceRows) % 2]!.take(bytes);
      const reading = read(at * fileRow, slice).then(() => slice);
      // A failure is thrown when this is awaited, unless an earlier failure ends the upload first.
      reading.catch(() => {});
      return reading;
    };

    let next = readSlice(0);
    for (let at = 0; at < rows; at += sliceRows) {
      const count = Math.min(sliceRows, rows - at);
      const file = await next;
      if (at + sliceRows < rows) next = readSlice(at + sliceRows);
      for (const slice of this.#regroup(part, k, file, count)) {
        this.#write(part, k, first + at, count, slice);
      }
      onBytes(count * fileRow);
      // Dawn may keep a copy of what was written until it is done: waiting bounds that memory.
      if (this.#pending > PENDING_BYTES) await this.finish();
    }
  }

  /** Writes rows [first, first + count) of a plane of a part. */
  #write(
    { rows, placement }: WeightPart,
    k: number,
    first: number,
    count: number,
    slice: PlaneSlice,
  ): void {
    const { plane, memory, words, row } = slice;
    if (placement === "rows") {
      this.#writeTo(memory, first * row, words.subarray(0, (count * row) / 4));
      return;
    }
    // See `cpu/planes/interleaved`: one super-block of all rows, with the chunks of eight rows side
    // by side, then the next super-block.
    const units = planeUnits(plane, k);
    const widest = plane.unit === "chunk" ? SUPER : 1;
    const size = plane.bytes / 4;
    const places = placesOf(count);
    for (let start = 0; start < units; start += widest) {
      const width = Math.min(widest, units - start);
      const run = new Uint32Array(
        this.#run.take(places * width * plane.bytes).buffer,
        0,
        places * width * size,
      );
      for (let r = 0; r < count; r++) {
        let from = (r * units + start) * size;
        for (let c = 0; c < width; c++) {
          const to = ((r & ~7) * width + c * EIGHT + (r & 7)) * size;
          for (let i = 0; i < size; i++) run[to + i] = words[from++]!;
        }
      }
      this.#writeTo(memory, (start * placesOf(rows) + first * width) * plane.bytes, run);
    }
  }

  #writeTo(memory: PlaneMemory, at: number, words: Uint32Array<ArrayBuffer>): void {
    const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    writePlane(this.#device, memory, at, bytes);
    this.#pending += bytes.length;
  }

  /** `count` rows of a file as planes, in memory that the next call overwrites. */
  #regroup(
    { format, planes: memories }: WeightPart,
    k: number,
    file: Uint8Array,
    count: number,
  ): PlaneSlice[] {
    const rows = format.planes.map((plane) => planeRowBytes(plane, k));
    const memory = this.#planes.take(rows.reduce((sum, row) => sum + count * row, 0));
    let end = 0;
    const slices = format.planes.map((plane, i) => {
      const row = rows[i]!;
      const at = end;
      end += count * row;
      const words = new Uint32Array(memory.buffer, at, (count * row) >> 2);
      const bytes = new Uint8Array(memory.buffer, at, count * row);
      return { plane, memory: memories[plane.name]!, row, words, bytes };
    });
    const blocks = k / format.blockWeights;
    const padded = format.planes.some(
      ({ unit }) => k % (unit === "chunk" ? CHUNK : SUPER * CHUNK) > 0,
    );
    if (!padded) {
      const targets = slices.map(({ bytes }) => bytes);
      format.regroup(file, count * blocks, targets);
      return slices;
    }
    memory.fill(0); // the padding between rows
    const fileRow = rowBytes(format, k);
    for (let r = 0; r < count; r++) {
      const targets = slices.map(({ row, bytes }) => bytes.subarray(r * row, (r + 1) * row));
      format.regroup(file.subarray(r * fileRow, (r + 1) * fileRow), blocks, targets);
    }
    return slices;
  }
}

/** Memory that is reused, and grows if more is needed. */
class Slice {
  #bytes = new Uint8Array(0);

  take(size: number): Uint8Array<ArrayBuffer> {
    if (this.#bytes.length < size) this.#bytes = new Uint8Array(size);
    return this.#bytes.subarray(0, size);
  }
}
