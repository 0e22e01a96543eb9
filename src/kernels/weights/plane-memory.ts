// Creates and writes the memory of planes on the GPU: a range of a buffer, or a texture.

import type { Device } from "../gpu/device.ts";
import type { Plane } from "./formats/format.ts";

/** The memory of one plane. */
export type PlaneMemory = { readonly buffer: GPUBuffer; readonly offset: number } | PlaneTexture;

interface PlaneTexture {
  readonly texture: GPUTexture;
  readonly texelBytes: number;
  readonly view: GPUTextureView;
}

/** A texture for a plane of `bytes` bytes, with rows of 2 ^ `bits` texels. */
export async function createPlaneTexture(
  device: Device,
  label: string,
  texel: NonNullable<Plane["texel"]>,
  { bytes, bits }: { readonly bytes: number; readonly bits: number },
): Promise<PlaneTexture> {
  const width = 2 ** bits;
  const height = bytes / (width * texel.bytes);
  const texture = await device.createTexture(label, [width, height], texel.format, bytes);
  return { texture, texelBytes: texel.bytes, view: texture.createView() };
}

/** Writes bytes into a plane from its byte `at` on; in a texture, whole texels. */
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
