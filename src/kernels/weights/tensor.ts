// Weights on the GPU, in the format of their file.

import type { Placement } from "../adapter/adapter.ts";
import { chunksOf, strideOf, UNIFORM_BYTES } from "../gpu/activations.ts";
import { BINDING_ALIGNMENT, CapacityError, type Device } from "../gpu/device.ts";
import { type Bound, KernelError } from "../gpu/kernel.ts";
import { USAGE } from "../gpu/usage-flags.ts";
import type { Plane, WeightFormat } from "./formats/format.ts";
import {
  createPlaneTexture,
  maxBytes,
  type PlaneMemory,
  placesOf,
  planeBytes,
  planeRowBytes,
  texelBits,
} from "./layout.ts";

const STORAGE = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;

/** Rows [firstRow, firstRow + rows) of a weight tensor, in memory of a size that can be bound. */
export interface WeightPart {
  readonly format: WeightFormat;
  readonly placement: Placement;
  readonly firstRow: number;
  readonly rows: number;
  /** A binding for each plane of the format, and `matrix`, the sizes that kernels read. */
  readonly bindings: Readonly<Record<string, Bound>>;
  /** Where the planes lie, by name. */
  readonly planes: Readonly<Record<string, PlaneMemory>>;
  /** The `matrix` of products that are added to what is there. */
  readonly adding: GPUBufferBinding;
}

/** What a part takes: the buffer with its sizes, then the textures. */
export function memoryOf({ adding, planes }: WeightPart): (GPUBuffer | GPUTexture)[] {
  const textures = Object.values(planes).flatMap((plane) =>
    "texture" in plane ? plane.texture : [],
  );
  return [adding.buffer, ...textures];
}

/**
 * A matrix [n, k] as its file packs it: y = W x takes k numbers to n. It may be a stack of tensors that are multiplied with
 * the same x, one above the other: neighbours of one format are one part, and so one dispatch.
 */
export interface Weights {
  readonly label: string;
  readonly n: number;
  readonly k: number;
  readonly parts: readonly WeightPart[];
  readonly bytes: number;
}

/** The binding of an F32 vector, such as the weight of a norm. */
export function vectorBinding({ label, parts }: Weights): GPUBufferBinding {
  const [part, ...more] = parts;
  const values = part?.bindings.quants;
  if (!values || !("buffer" in values) || part.format.name !== "F32" || more.length > 0) {
    throw new KernelError(`${label}: not an F32 vector in one part`);
  }
  return values;
}

/** In front of the planes: the sizes, once for products that replace and once for those that are added. */
const FRONT_BYTES = 2 * BINDING_ALIGNMENT;

/** Bytes on the GPU of a tensor [n, k] in one part: its sizes, then its planes. */
export function weightBytes(format: WeightFormat, n: number, k: number): number {
  const planes = format.planes.map((plane) => planeBytes(format, plane, n, k));
  return planes.reduce((sum, bytes) => sum + alignBinding(Math.max(bytes, 1)), FRONT_BYTES);
}

function alignBinding(bytes: number): number {
  return Math.ceil(bytes / BINDING_ALIGNMENT) * BINDING_ALIGNMENT;
}

/**
 * Bytes of a part of a stack of `n` rows in all. A vector takes no less than a uniform binding, on every adapter, since it may
 * be a norm that is read through one.
 */
function partBytes(format: WeightFormat, rows: number, k: number, n: number): number {
  const bytes = weightBytes(format, rows, k);
  return n === 1 ? Math.max(bytes, FRONT_BYTES + UNIFORM_BYTES) : bytes;
}

/** One of the tensors of a stack, [n, k]. */
export interface StackedTensor {
  readonly format: WeightFormat;
  readonly n: number;
}

function rowsOf(tensors: readonly StackedTensor[]): number {
  return tensors.reduce((sum, tensor) => sum + tensor.n, 0);
}

/** A stretch of a stack of one format: rows [firstRow, firstRow + n). */
interface Stretch extends StackedTensor {
  readonly firstRow: number;
}

/** Neighbours of one format together, as long as each begins at a multiple of eight rows, where planes are aligned. */
function stretches(tensors: readonly StackedTensor[]): Stretch[] {
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

/** Bytes on the GPU of a stack of tensors [n, k], part by part, where none has to be split. */
export function stackBytes(
  tensors: readonly StackedTensor[],
  k: number,
): { readonly format: string; readonly bytes: number }[] {
  return stretches(tensors).map(({ format, n }) => {
    return { format: format.name, bytes: partBytes(format, n, k, rowsOf(tensors)) };
  });
}

/** The most rows of a tensor that fit the limits of one part; a multiple of 8 unless the whole tensor fits. */
export function rowsPerPart(
  device: Device,
  format: WeightFormat,
  n: number,
  k: number,
  placement: Placement = "rows",
): number {
  const { maxStorageBufferBindingSize: binding, maxBufferSize } = device.limits;
  const rows = format.planes.map((plane) => planeRowBytes(plane, k));
  const most = (plane: Plane) =>
    placement === "interleaved" ? Math.min(binding, maxBytes(plane)) : binding;
  const fits = format.planes.map((plane, i) => most(plane) / rows[i]!);
  const bound = Math.min(...fits);
  if (placesOf(n) <= bound && weightBytes(format, n, k) <= maxBufferSize) return n;
  // The sizes in front and what is behind a plane come to less than an alignment each, or a row of a texture.
  const unit = format.planes.map(({ texel }) => (texel?.bytes ?? 0) << texelBits(format, n, k));
  const behind = unit.map((bytes) => Math.max(bytes, BINDING_ALIGNMENT));
  const room = maxBufferSize - FRONT_BYTES - behind.reduce((sum, bytes) => sum + bytes, 0);
  const fit = Math.min(bound, room / rows.reduce((sum, bytes) => sum + bytes, 0));
  return Math.max(0, Math.floor(fit / 8) * 8);
}

/** Allocates a weight tensor [n, k], in as many parts as the limits ask for. Its data comes with `uploadWeights`. */
export function createWeights(
  device: Device,
  label: string,
  format: WeightFormat,
  n: number,
  k: number,
  placement: Placement = "rows",
): Promise<Weights> {
  return createStack(device, label, [{ format, n }], k, placement);
}

/** Allocates a stack of tensors [n, k]. The data of each comes with `Uploader.upload`. */
export async function createStack(
  device: Device,
  label: string,
  tensors: readonly StackedTensor[],
  k: number,
  placement: Placement = "rows",
): Promise<Weights> {
  const n = rowsOf(tensors);
  const parts: WeightPart[] = [];
  for (const stretch of stretches(tensors)) {
    const { format } = stretch;
    // A vector, which may be read otherwise than as weights, is a row.
    const where = n > 1 ? placement : "rows";
    const perPart = rowsPerPart(device, format, stretch.n, k, where);
    if (perPart < 1) {
      throw new CapacityError(
        `${label}: eight rows of ${k} weights exceed what this adapter can bind.`,
      );
    }
    const end = stretch.firstRow + stretch.n;
    for (let firstRow = stretch.firstRow; firstRow < end; firstRow += perPart) {
      const rows = Math.min(perPart, end - firstRow);
      const name = rows < n ? `${label} rows ${firstRow} to ${firstRow + rows - 1}` : label;
      parts.push(await createPart(device, name, format, firstRow, rows, n, k, where));
    }
  }
  const bytes = parts.reduce((sum, { format, rows }) => sum + partBytes(format, rows, k, n), 0);
  return { label, n, k, parts, bytes };
}

/** Rows [firstRow, firstRow + rows) of a stack of n in all: one buffer for the sizes and planes, and a texture for each other plane. */
async function createPart(
  device: Device,
  label: string,
  format: WeightFormat,
  firstRow: number,
  rows: number,
  n: number,
  k: number,
  placement: Placement,
): Promise<WeightPart> {
  const bits = texelBits(format, rows, k);
  const textured = placement === "interleaved" ? format.planes.filter(({ texel }) => texel) : [];
  const inTextures = textured.reduce((sum, plane) => sum + planeBytes(format, plane, rows, k), 0);
  const size = partBytes(format, rows, k, n) - inTextures;
  const buffer = await device.createBuffer(label, size, STORAGE | USAGE.UNIFORM);
  // struct Matrix of weights/planes/unpack.wgsl
  const matrix = new Uint32Array([rows, k, chunksOf(k), firstRow, strideOf(n), 0, bits]);
  device.queue.writeBuffer(buffer, 0, matrix);
  new Float32Array(matrix.buffer)[5] = 1; // beta
  device.queue.writeBuffer(buffer, BINDING_ALIGNMENT, matrix);
  const sizes = { buffer, size: matrix.byteLength };
  const bindings: Record<string, Bound> = { matrix: { ...sizes, offset: 0 } };
  const planes: Record<string, PlaneMemory> = {};
  let offset = FRONT_BYTES;
  for (const plane of format.planes) {
    const { name, texel } = plane;
    const bytes = planeBytes(format, plane, rows, k);
    if (texel && textured.includes(plane)) {
      const texture = await createPlaneTexture(device, label, texel, bytes, bits);
      planes[name] = texture;
      bindings[name] = texture.view;
    } else {
      const size = Math.ceil((placesOf(rows) * planeRowBytes(plane, k)) / 16) * 16;
      planes[name] = { buffer, offset };
      bindings[name] = { buffer, offset, size };
      offset += alignBinding(bytes);
    }
  }
  const adding = { ...sizes, offset: BINDING_ALIGNMENT };
  return { format, placement, firstRow, rows, bindings, planes, adding };
}
