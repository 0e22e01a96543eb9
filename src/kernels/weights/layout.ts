// Where the planes of a matrix lie: a stretch of a buffer, or a texture; and in what order.

import { EIGHT } from "../adapter/adapter.ts";
import { chunksOf } from "../gpu/activations.ts";
import type { Device } from "../gpu/device.ts";
import { type Plane, SUPER, type WeightFormat } from "./formats/format.ts";

/** The memory of one plane. */
export type PlaneMemory = { readonly buffer: GPUBuffer; readonly offset: number } | PlaneTexture;

interface PlaneTexture {
  readonly texture: GPUTexture;
  readonly texelBytes: number;
  readonly view: GPUTextureView;
}

/** Chunks or super-blocks of a row of `k` weights, the last one perhaps partly empty. */
export function planeUnits({ unit }: Plane, k: number): number {
  return unit === "chunk" ? chunksOf(k) : Math.ceil(chunksOf(k) / SUPER);
}

/** Bytes of a row in a plane. */
export function planeRowBytes(plane: Plane, k: number): number {
  return planeUnits(plane, k) * plane.bytes;
}

/** Rows that the planes of a part of `n` rows have room for: eights, since they may lie by eight. */
export function placesOf(n: number): number {
  return Math.ceil(n / EIGHT) * EIGHT;
}

/** Rows of a texture that every adapter allows, and texels of a row. */
const TEXTURE_ROWS = 8192;
/** A row of a texture has at least 2 ^ MIN_BITS texels. */
const MIN_BITS = 6;

/** A texture that holds a plane of a part [n, k] has rows of 2 ^ `texelBits` texels. */
export function texelBits(format: WeightFormat, n: number, k: number): number {
  const texels = format.planes.map((plane) =>
    plane.texel ? (placesOf(n) * planeRowBytes(plane, k)) / plane.texel.bytes : 0,
  );
  return Math.max(MIN_BITS, Math.ceil(Math.log2(Math.max(...texels) / TEXTURE_ROWS)));
}

/** The bytes of a plane that might lie in a texture are at most what the largest texture of every adapter holds. */
export function maxBytes({ texel }: Plane): number {
  return texel ? TEXTURE_ROWS * TEXTURE_ROWS * texel.bytes : Number.POSITIVE_INFINITY;
}

/** Bytes of a plane of a part [n, k]: where it might lie in a texture, whole rows of that, so that all adapters need the same. */
export function planeBytes(format: WeightFormat, plane: Plane, n: number, k: number): number {
  const unit = plane.texel ? plane.texel.bytes << texelBits(format, n, k) : 16;
  return Math.ceil((placesOf(n) * planeRowBytes(plane, k)) / unit) * unit;
}

/** A texture for a plane of so many bytes. */
export async function createPlaneTexture(
  device: Device,
  label: string,
  texel: NonNullable<Plane["texel"]>,
  bytes: number,
  bits: number,
): Promise<PlaneTexture> {
  const width = 2 ** bits;
  const height = bytes / (width * texel.bytes);
  const texture = await device.createTexture(label, [width, height], texel.format, bytes);
  return { texture, texelBytes: texel.bytes, view: texture.createView() };
}

/** Writes bytes into a plane from its byte `at` on; of a texture, whole texels. */
export function writePlane(
  { queue }: Device,
  plane: PlaneMemory,
  at: number,
  bytes: Uint8Array<ArrayBuffer>,
): void {
  if ("buffer" in plane) {
    queue.writeBuffer(plane.buffer, plane.offset + at, bytes);
    return;
  }
  const { texture, texelBytes } = plane;
  const { width } = texture;
  // Up to three rectangles: the rest of a row, whole rows, the beginning of a row.
  let texel = at / texelBytes;
  for (let from = 0; from < bytes.length; ) {
    const left = (bytes.length - from) / texelBytes;
    const x = texel % width;
    const rows = x === 0 ? Math.floor(left / width) : 0;
    const columns = rows > 0 ? width : Math.min(width - x, left);
    const size = [columns, Math.max(1, rows)] as const;
    const layout = { offset: from, bytesPerRow: width * texelBytes };
    queue.writeTexture({ texture, origin: [x, Math.floor(texel / width)] }, bytes, layout, size);
    const written = columns * size[1];
    texel += written;
    from += written * texelBytes;
  }
}
