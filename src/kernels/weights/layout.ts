// How a matrix lies in memory, in bytes and rows: which rows of a stack are one part, where the
// planes of a part begin, and how large they are. Pure arithmetic: tensor.ts allocates memory,
// upload.ts fills it.
//
//   stack   tensors with rows of k weights, multiplied with the same vector, one above another
//   part    rows of a stack of one format, as many as an adapter can bind: one dispatch
//   plane   one kind of data that a format has for each chunk or super-block: quants, scales, ...
//
//   buffer of a part:   | sizes | sizes of products that are added | plane | plane | ... |
//                       each at a multiple of 256
//   plane, by rows:     row 0: chunk 0, chunk 1, ...; row 1: chunk 0, ...
//   plane, interleaved: super-block 0 of rows 0 to 7: chunk 0 of each row, chunk 1 of each, ...;
//                       of rows 8 to 15; ...; then super-block 1 of all rows; the widest planes
//                       in textures of their own

import { EIGHT, type Placement } from "../adapter/adapter.ts";
import { chunksOf, UNIFORM_BYTES } from "../gpu/activations.ts";
import { BINDING_ALIGNMENT, type Limits } from "../gpu/device.ts";
import { type Plane, SUPER, type WeightFormat } from "./formats/format.ts";

/** Chunks or super-blocks of a row of `k` weights, the last one perhaps partly empty. */
export function planeUnits({ unit }: Plane, k: number): number {
  return unit === "chunk" ? chunksOf(k) : Math.ceil(chunksOf(k) / SUPER);
}

/** Bytes of a row in a plane. */
export function planeRowBytes(plane: Plane, k: number): number {
  return planeUnits(plane, k) * plane.bytes;
}

/**
 * Rows that the planes of a part of `n` rows have room for: a multiple of eight, since eight rows
 * may be interleaved.
 */
export function placesOf(n: number): number {
  return Math.ceil(n / EIGHT) * EIGHT;
}

/** Rows of a texture that every adapter allows, and texels of a row. */
const TEXTURE_ROWS = 8192;
/** A row of a texture has at least 2 ^ MIN_BITS texels. */
const MIN_BITS = 6;

/** The rows of a texture for a plane of a part [n, k] have 2 ^ `texelBits` texels. */
export function texelBits(format: WeightFormat, n: number, k: number): number {
  const texels = format.planes.map((plane) =>
    plane.texel ? (placesOf(n) * planeRowBytes(plane, k)) / plane.texel.bytes : 0,
  );
  return Math.max(MIN_BITS, Math.ceil(Math.log2(Math.max(...texels) / TEXTURE_ROWS)));
}

/**
 * The most bytes of a plane: one that may be stored in a texture must fit the largest texture that
 * every adapter allows.
 */
function maxBytes({ texel }: Plane): number {
  return texel ? TEXTURE_ROWS * TEXTURE_ROWS * texel.bytes : Number.POSITIVE_INFINITY;
}

/**
 * Bytes of a plane of a part [n, k]. If it may be stored in a texture they are whole rows of it, on
 * all adapters, so that all need the same memory.
 */
export function planeBytes(format: WeightFormat, plane: Plane, n: number, k: number): number {
  const unit = plane.texel ? plane.texel.bytes << texelBits(format, n, k) : 16;
  return Math.ceil((placesOf(n) * planeRowBytes(plane, k)) / unit) * unit;
}

/**
 * Bytes before the planes: the sizes twice, for products that replace y and for those that are
 * added to it.
 */
export const FRONT_BYTES = 2 * BINDING_ALIGNMENT;

/** Bytes on the GPU of a tensor [n, k] in one part: its sizes, then its planes. */
export function weightBytes(format: WeightFormat, n: number, k: number): number {
  const planes = format.planes.map((plane) => planeBytes(format, plane, n, k));
  return planes.reduce((sum, bytes) => sum + alignBinding(Math.max(bytes, 1)), FRONT_BYTES);
}

function alignBinding(bytes: number): number {
  return Math.ceil(bytes / BINDING_ALIGNMENT) * BINDING_ALIGNMENT;
}

/** Rows of a stack [n, k], all of one format. */
export interface Part {
  readonly format: WeightFormat;
  readonly rows: number;
  readonly n: number;
  readonly k: number;
}

/**
 * Bytes of a part of a stack of `n` rows in all. A vector takes at least a uniform binding, on
 * every adapter, since it may be a norm that is read through one.
 */
export function partBytes({ format, rows, n, k }: Part): number {
  const bytes = weightBytes(format, rows, k);
  return n === 1 ? Math.max(bytes, FRONT_BYTES + UNIFORM_BYTES) : bytes;
}

/** One of the tensors of a stack, [n, k]. */
export interface StackedTensor {
  readonly format: WeightFormat;
  readonly n: number;
}

export function rowsOf(tensors: readonly StackedTensor[]): number {
  return tensors.reduce((sum, tensor) => sum + tensor.n, 0);
}

/** Neighbouring tensors of a stack that have one format: rows [firstRow, firstRow + n). */
export interface Stretch extends StackedTensor {
  readonly firstRow: number;
}

/** Joins neighbours of one format if each begins at a multiple of eight rows, as planes require. */
export function stretches(tensors: readonly StackedTensor[]): Stretch[] {
  const found: Stretch[] = [];
  let firstRow = 0;
  for (const { format, n } of tensors) {
    const last = found.at(-1);
    if (last?.format === format && last.n % 8 === 0)
      found[found.length - 1] = { ...last, n: last.n + n };
    else found.push({ format, n, firstRow });
    firstRow += n;
  }
  return found;
}

/** Bytes on the GPU of a stack of tensors [n, k], part by part, if none has to be split. */
export function stackBytes(
  tensors: readonly StackedTensor[],
  k: number,
): { readonly format: string; readonly bytes: number }[] {
  return stretches(tensors).map(({ format, n }) => {
    const bytes = partBytes({ format, rows: n, n: rowsOf(tensors), k });
    return { format: format.name, bytes };
  });
}

/** A tensor [n, k], to be split into parts of as many rows as possible. */
export interface PlacedTensor extends StackedTensor {
  readonly k: number;
  readonly placement: Placement;
}

/**
 * The most rows of a tensor that fit the limits of one part; a multiple of 8 unless the whole
 * tensor fits.
 */
export function rowsPerPart(limits: Limits, { format, n, k, placement }: PlacedTensor): number {
  const { maxStorageBufferBindingSize: binding, maxBufferSize } = limits;
  const rows = format.planes.map((plane) => planeRowBytes(plane, k));
  const most = (plane: Plane) =>
    placement === "interleaved" ? Math.min(binding, maxBytes(plane)) : binding;
  const fits = format.planes.map((plane, i) => most(plane) / rows[i]!);
  const bound = Math.min(...fits);
  if (placesOf(n) <= bound && weightBytes(format, n, k) <= maxBufferSize) return n;
  // The sizes, and the padding after each plane, take less than an alignment each, or less than a
  // row of a texture.
  const unit = format.planes.map(({ texel }) => (texel?.bytes ?? 0) << texelBits(format, n, k));
  const behind = unit.map((bytes) => Math.max(bytes, BINDING_ALIGNMENT));
  const room = maxBufferSize - FRONT_BYTES - behind.reduce((sum, bytes) => sum + bytes, 0);
  const fit = Math.min(bound, room / rows.reduce((sum, bytes) => sum + bytes, 0));
  return Math.max(0, Math.floor(fit / 8) * 8);
}

/** Where a plane of a part lies: from byte `offset` of the part's buffer on, or in a texture. */
export interface PlanePlace {
  readonly plane: Plane;
  /** Bytes allocated for it. */
  readonly bytes: number;
  /** Bytes that kernels bind. */
  readonly bound: number;
  readonly offset: number | "texture";
}

/**
 * The layout of a part: one buffer for the sizes and most planes, and a texture for each other
 * plane.
 */
export interface PartLayout {
  readonly bufferBytes: number;
  /** Rows of its textures have 2 ^ `texelBits` texels. */
  readonly texelBits: number;
  readonly planes: readonly PlanePlace[];
}

export function layoutOf(part: Part, placement: Placement): PartLayout {
  const { format, rows, k } = part;
  let offset = FRONT_BYTES;
  let inTextures = 0;
  const planes = format.planes.map((plane): PlanePlace => {
    const bytes = planeBytes(format, plane, rows, k);
    const bound = Math.ceil((placesOf(rows) * planeRowBytes(plane, k)) / 16) * 16;
    if (plane.texel && placement === "interleaved") {
      inTextures += bytes;
      return { plane, bytes, bound, offset: "texture" };
    }
    const place = { plane, bytes, bound, offset };
    offset += alignBinding(bytes);
    return place;
  });
  const bits = texelBits(format, rows, k);
  return { bufferBytes: partBytes(part) - inTextures, texelBits: bits, planes };
}
