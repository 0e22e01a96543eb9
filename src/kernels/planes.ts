// Where the planes of a matrix lie: a stretch of a buffer, or a texture; and in what order.

import type { Device } from "./device.ts";
import { chunksOf, type Placement, type Plane, type WeightFormat } from "./formats/format.ts";
import { EIGHT, readsInEights, spanOf } from "./lanes.ts";

/** The memory of one plane. */
export type PlaneMemory = { readonly buffer: GPUBuffer; readonly offset: number } | PlaneTexture;

interface PlaneTexture {
  readonly texture: GPUTexture;
  readonly texelBytes: number;
  readonly view: GPUTextureView;
}

/** Bytes of a row in a plane. */
export function planeRowBytes(format: WeightFormat, plane: Plane, k: number): number {
  const bytes = (k / format.blockWeights) * plane.blockBytes;
  const align = plane.rowAlign ?? 1;
  return Math.ceil(bytes / align) * align;
}

/** Rows of a texture that every adapter allows, and texels of a row. */
const TEXTURE_ROWS = 8192;
/** A row of a texture has at least 2 ^ LEAST_BITS texels. */
const LEAST_BITS = 6;

/** A texture that holds a plane of a matrix [n, k] has rows of 2 ^ `texelBits` texels. */
export function texelBits(format: WeightFormat, n: number, k: number): number {
  const texels = format.planes.map((plane) =>
    plane.texel ? (n * planeRowBytes(format, plane, k)) / plane.texel.bytes : 0,
  );
  return Math.max(LEAST_BITS, Math.ceil(Math.log2(Math.max(...texels) / TEXTURE_ROWS)));
}

/** The bytes of a plane that might lie in a texture are at most what the largest texture of every adapter holds. */
export function mostBytes({ texel }: Plane): number {
  return texel ? TEXTURE_ROWS * TEXTURE_ROWS * texel.bytes : Number.POSITIVE_INFINITY;
}

/** Bytes of a plane of a matrix [n, k]: where it might lie in a texture, whole rows of that, so that all adapters need the same. */
export function planeBytes(format: WeightFormat, plane: Plane, n: number, k: number): number {
  const unit = plane.texel ? plane.texel.bytes << texelBits(format, n, k) : 16;
  return Math.ceil((n * planeRowBytes(format, plane, k)) / unit) * unit;
}

/**
 * How a matrix [n, k] is placed on an adapter. A vector, which may be read otherwise than as weights, is a row; so are long
 * rows that cannot be cut into strips, since of a texture what does not lie as it is read is read slowly.
 */
export function placementOf(device: Device, format: WeightFormat, n: number, k: number): Placement {
  const texturesRead = device.languageFeatures.has("readonly_and_readwrite_storage_textures");
  const inOrder = stripOf("strips", format, k) <= EIGHT * spanOf(format, k);
  return n > 1 && inOrder && readsInEights(device) && texturesRead ? "strips" : "rows";
}

/**
 * Chunks of a row of `k` weights that lie together, before those of the next row: what eight lanes take of it at a time. Where
 * that would cut a plane in the middle of a word, it is the whole row.
 */
export function stripOf(placement: Placement, format: WeightFormat, k: number): number {
  const chunks = chunksOf(k);
  const strip = EIGHT * spanOf(format, k);
  if (placement === "rows" || chunks <= strip) return chunks;
  const bytes = (plane: Plane, width: number) => (width * planeRowBytes(format, plane, k)) / chunks;
  const cuts = format.planes.some((plane) =>
    [strip, chunks % strip].some((width) => bytes(plane, width) % 4 !== 0),
  );
  return cuts ? chunks : strip;
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
