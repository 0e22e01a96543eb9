// The way of weights from a file to the GPU: read, regrouped into planes, written, slice by slice.

import type { Device } from "./device.ts";
import { chunksOf, rowBytes, type WeightFormat } from "./formats/format.ts";
import { type PlaneMemory, planeRowBytes, writePlane } from "./planes.ts";
import type { WeightPart, Weights } from "./tensor.ts";

/** Reads `into.length` bytes from byte `offset` of a tensor's data in the file. */
export type TensorReader = (offset: number, into: Uint8Array) => Promise<void>;

/** Bytes of a file that are read, regrouped and written at a time. */
const SLICE_BYTES = 1 << 20;

/** Bytes on their way to the GPU at a time. */
const PENDING_BYTES = 4 << 20;

/** Uploads one tensor by itself. */
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
  /** What a slice has of a strip of a plane. */
  readonly #run = new Slice();
  /** Bytes written since the queue was last waited for. */
  #pending = 0;

  constructor(device: Device) {
    this.#device = device;
  }

  /** Takes rows [firstRow, firstRow + n), those of one tensor, from `read`. They have arrived on the GPU after `finish`. */
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
    // A multiple of eight rows keeps the slice of every plane, two bytes a block or more, aligned to the four bytes
    // that a queue write wants.
    const sliceRows = Math.max(8, Math.floor(SLICE_BYTES / fileRow / 8) * 8);
    const readSlice = (at: number): Promise<Uint16Array> => {
      const bytes = Math.min(sliceRows, rows - at) * fileRow;
      const slice = this.#files[(at / sliceRows) % 2]!.take(bytes);
      const reading = read(at * fileRow, slice).then(
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
      for (const { name, row, bytes } of this.#regroup(part.format, k, file, count)) {
        this.#write(part, chunksOf(k), part.planes[name]!, row, first + at, count, bytes);
      }
      onBytes(count * fileRow);
      // Dawn may keep a copy of what was written until it is done: waiting bounds that memory.
      if (this.#pending > PENDING_BYTES) await this.finish();
    }
  }

  /** Writes rows [first, first + count) of a plane, `row` bytes each, strip by strip. */
  #write(
    { rows, strip }: WeightPart,
    chunks: number,
    plane: PlaneMemory,
    row: number,
    first: number,
    count: number,
    bytes: Uint8Array<ArrayBuffer>,
  ): void {
    for (let start = 0; start < chunks; start += strip) {
      const wide = Math.min(strip, chunks - start);
      const [from, width] = [(start * row) / chunks, (wide * row) / chunks];
      let run = bytes.subarray(0, Math.ceil((count * row) / 4) * 4);
      if (wide < chunks) {
        run = this.#run.take(count * width);
        for (let r = 0; r < count; r++) {
          run.set(bytes.subarray(r * row + from, r * row + from + width), r * width);
        }
      }
      writePlane(this.#device, plane, from * rows + first * width, run);
      this.#pending += run.length;
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
      const bytes = new Uint8Array(memory.buffer, halves.byteOffset, sizes[i]!);
      return { name, row: rows[i]!, halves, bytes };
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
