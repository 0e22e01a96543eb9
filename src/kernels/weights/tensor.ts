// Weights on the GPU, in the format of their file. In this room: formats and their fragments
// (formats/, planes/), how a matrix lies in memory (layout.ts), and how it is uploaded (upload.ts).
// Not in it: which tensors a model has (engine/model).

import type { Placement } from "../adapter/adapter.ts";
import { chunksOf, strideOf } from "../gpu/activations.ts";
import { BINDING_ALIGNMENT, CapacityError, type Device } from "../gpu/device.ts";
import { type Bound, KernelError } from "../gpu/kernel.ts";
import { USAGE } from "../gpu/usage-flags.ts";
import type { WeightFormat } from "./formats/format.ts";
import {
  layoutOf,
  type Part,
  partBytes,
  rowsOf,
  rowsPerPart,
  type StackedTensor,
  stretches,
} from "./layout.ts";
import { createPlaneTexture, type PlaneMemory } from "./plane-memory.ts";

const STORAGE = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;

/** Rows [firstRow, firstRow + rows) of a weight tensor that fit the adapter's binding limits. */
export interface WeightPart {
  readonly format: WeightFormat;
  readonly placement: Placement;
  readonly firstRow: number;
  readonly rows: number;
  /** A binding for each plane of the format, and `matrix`, the sizes that kernels read. */
  readonly bindings: Readonly<Record<string, Bound>>;
  /** Where the planes lie, by name. */
  readonly planes: Readonly<Record<string, PlaneMemory>>;
  /** The `matrix` of products that are added to y instead of replacing it. */
  readonly adding: GPUBufferBinding;
}

/** The memory of a part: its buffer, then its textures. */
export function memoryOf({ adding, planes }: WeightPart): (GPUBuffer | GPUTexture)[] {
  const textures = Object.values(planes).flatMap((plane) =>
    "texture" in plane ? plane.texture : [],
  );
  return [adding.buffer, ...textures];
}

/**
 * A matrix [n, k] as its file packs it: y = W x maps k numbers to n. It may be a stack of tensors
 * that are multiplied with the same x: neighbours of one format are one part, and so one dispatch.
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

/** A tensor [n, k] to be allocated. */
export interface NewWeights {
  readonly label: string;
  readonly format: WeightFormat;
  readonly n: number;
  readonly k: number;
  readonly placement?: Placement;
}

/** A stack of tensors with rows of k weights to be allocated. */
export interface NewStack {
  readonly label: string;
  readonly tensors: readonly StackedTensor[];
  readonly k: number;
  readonly placement?: Placement;
}

/**
 * Allocates a weight tensor [n, k], in as many parts as the adapter's limits require.
 * `uploadWeights` uploads its data.
 */
export function createWeights(device: Device, tensor: NewWeights): Promise<Weights> {
  const { format, n, ...stack } = tensor;
  return createStack(device, { ...stack, tensors: [{ format, n }] });
}

/** Allocates a stack of tensors [n, k]. `Uploader.upload` uploads the data of each. */
export async function createStack(device: Device, stack: NewStack): Promise<Weights> {
  const { label, tensors, k } = stack;
  const n = rowsOf(tensors);
  // A vector is one row, in a buffer, since kernels may also read it as plain numbers.
  const placement = n > 1 ? (stack.placement ?? "rows") : "rows";
  const parts: WeightPart[] = [];
  for (const { format, firstRow: start, n: count } of stretches(tensors)) {
    const perPart = rowsPerPart(device.limits, { format, n: count, k, placement });
    if (perPart < 1) {
      throw new CapacityError(
        `${label}: eight rows of ${k} weights exceed what this adapter can bind.`,
      );
    }
    for (let firstRow = start; firstRow < start + count; firstRow += perPart) {
      const rows = Math.min(perPart, start + count - firstRow);
      const name = rows < n ? `${label} rows ${firstRow} to ${firstRow + rows - 1}` : label;
      const part = { label: name, format, firstRow, rows, n, k, placement };
      parts.push(await createPart(device, part));
    }
  }
  const bytes = parts.reduce((sum, { format, rows }) => sum + partBytes({ format, rows, n, k }), 0);
  return { label, n, k, parts, bytes };
}

/** Rows [firstRow, firstRow + rows) of a stack of n in all. */
interface NewPart extends Part {
  readonly label: string;
  readonly firstRow: number;
  readonly placement: Placement;
}

async function createPart(device: Device, part: NewPart): Promise<WeightPart> {
  const { label, format, firstRow, rows, n, k, placement } = part;
  const layout = layoutOf(part, placement);
  const buffer = await device.createBuffer(label, layout.bufferBytes, STORAGE | USAGE.UNIFORM);
  // struct Matrix of weights/planes/unpack.wgsl
  const sizes = [rows, k, chunksOf(k), firstRow, strideOf(n), 0, layout.texelBits];
  const matrix = new Uint32Array(sizes);
  device.queue.writeBuffer(buffer, 0, matrix);
  new Float32Array(matrix.buffer)[5] = 1; // beta
  device.queue.writeBuffer(buffer, BINDING_ALIGNMENT, matrix);
  const binding = { buffer, size: matrix.byteLength };
  const bindings: Record<string, Bound> = { matrix: { ...binding, offset: 0 } };
  const planes: Record<string, PlaneMemory> = {};
  for (const { plane, bytes, bound, offset } of layout.planes) {
    const { name, texel } = plane;
    if (offset === "texture") {
      const size = { bytes, bits: layout.texelBits };
      const texture = await createPlaneTexture(device, label, texel!, size);
      planes[name] = texture;
      bindings[name] = texture.view;
    } else {
      planes[name] = { buffer, offset };
      bindings[name] = { buffer, offset, size: bound };
    }
  }
  const adding = { ...binding, offset: BINDING_ALIGNMENT };
  return { format, placement, firstRow, rows, bindings, planes, adding };
}
