import {
  DEFAULT_ALIGNMENT,
  MAGIC,
  SCALAR_TYPES,
  type ScalarType,
  SIZED_TYPES,
  TENSOR_TYPES,
  type TensorType,
} from "../../src/engine/gguf/format.ts";

/**
 * Writes GGUF files for tests and benches: right ones, and, through `raw`, ones that lie about a
 * count, a length, a type or an offset while all the rest is right.
 */

export type WrittenType = ScalarType | "string" | `${ScalarType | "string"}[]`;
export type WrittenScalar = number | bigint | boolean | string;

export type MetadataEntry = readonly [
  key: string,
  type: WrittenType,
  value: WrittenScalar | ArrayLike<WrittenScalar>,
  raw?: RawEntry,
];

/** What is written instead of the truth. */
export interface RawEntry {
  readonly keyBytes?: bigint;
  readonly type?: number;
  readonly itemType?: number;
  /** The length of a string, or the count of an array. */
  readonly length?: bigint;
}

export interface WrittenTensor {
  readonly name: string;
  /** shape[0] is the length of a row. */
  readonly shape: readonly number[];
  readonly type: TensorType;
  readonly data?: Uint8Array;
  readonly raw?: RawTensor;
}

export interface RawTensor {
  readonly nameBytes?: bigint;
  readonly dimensions?: number;
  readonly shape?: readonly bigint[];
  readonly type?: number;
  readonly offset?: bigint;
}

export interface GgufContents {
  readonly version?: number;
  readonly metadata?: readonly MetadataEntry[];
  readonly tensors?: readonly WrittenTensor[];
  /** Lays the tensors out by it, and says so in `general.alignment` unless `metadata` does. */
  readonly alignment?: number;
  readonly raw?: {
    readonly magic?: string;
    readonly tensorCount?: bigint;
    readonly keyCount?: bigint;
  };
}

export interface GgufHeader {
  /** Everything up to the data, padding included. */
  readonly bytes: Uint8Array;
  /** Where the data starts in the file; the length of `bytes`. */
  readonly dataOffset: number;
  /** Where each tensor starts in the file; the gaps between them are zeros. */
  readonly tensorOffsets: readonly number[];
  readonly fileBytes: number;
}

export function tensorBytes(type: TensorType, shape: readonly number[]): number {
  const block = TENSOR_TYPES[type];
  return (shape.reduce((product, size) => product * size, 1) / block.elements) * block.bytes;
}

/** All of a file but the data, which a large model's writer streams behind it. */
export function ggufHeader(contents: GgufContents): GgufHeader {
  const { version = 3, tensors = [], alignment = DEFAULT_ALIGNMENT, raw = {} } = contents;
  const metadata = [...(contents.metadata ?? [])];
  if (contents.alignment !== undefined && !metadata.some(([key]) => key === "general.alignment")) {
    metadata.push(["general.alignment", "u32", alignment]);
  }

  const out = new ByteWriter();
  out.bytes(new TextEncoder().encode(raw.magic ?? MAGIC));
  out.number("u32", version);
  out.number("u64", raw.tensorCount ?? tensors.length);
  out.number("u64", raw.keyCount ?? metadata.length);
  for (const entry of metadata) writeEntry(out, entry);

  let end = 0;
  const offsets: number[] = [];
  for (const tensor of tensors) {
    offsets.push(end);
    writeTensorInfo(out, tensor, end);
    end = padded(end + tensorBytes(tensor.type, tensor.shape), alignment);
  }
  out.zeros(padded(out.length, alignment) - out.length);

  const dataOffset = out.length;
  const tensorOffsets = offsets.map((offset) => dataOffset + offset);
  return { bytes: out.finish(), dataOffset, tensorOffsets, fileBytes: dataOffset + end };
}

export function writeGguf(contents: GgufContents): Uint8Array {
  const header = ggufHeader(contents);
  const file = new Uint8Array(header.fileBytes);
  file.set(header.bytes);
  for (const [i, tensor] of (contents.tensors ?? []).entries()) {
    if (tensor.data !== undefined) file.set(tensor.data, header.tensorOffsets[i]);
  }
  return file;
}

function writeEntry(out: ByteWriter, [key, type, value, raw = {}]: MetadataEntry): void {
  out.string(key, raw.keyBytes);
  if (!type.endsWith("[]")) {
    out.number("u32", raw.type ?? typeId(type as ScalarType | "string"));
    out.value(type as ScalarType | "string", value as WrittenScalar, raw.length);
    return;
  }
  const itemType = type.slice(0, -2) as ScalarType | "string";
  const items = Array.from(value as ArrayLike<WrittenScalar>);
  out.number("u32", raw.type ?? SIZED_TYPES.array.id);
  out.number("u32", raw.itemType ?? typeId(itemType));
  out.number("u64", raw.length ?? items.length);
  for (const item of items) out.value(itemType, item);
}

function typeId(type: ScalarType | "string"): number {
  return type === "string" ? SIZED_TYPES.string.id : SCALAR_TYPES[type].id;
}

function writeTensorInfo(out: ByteWriter, tensor: WrittenTensor, offset: number): void {
  const { name, shape, type, raw = {} } = tensor;
  out.string(name, raw.nameBytes);
  const sizes = raw.shape ?? shape.map(BigInt);
  out.number("u32", raw.dimensions ?? sizes.length);
  for (const size of sizes) out.number("u64", size);
  out.number("u32", raw.type ?? TENSOR_TYPES[type].id);
  out.number("u64", raw.offset ?? offset);
}

function padded(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

/** Little-endian bytes that grow. */
class ByteWriter {
  #buffer = new Uint8Array(4096);
  length = 0;

  /** Numbers are truncated to the type, as a cast in C would: so lies can be written, too. */
  number(type: ScalarType, value: number | bigint): void {
    const { bytes } = SCALAR_TYPES[type];
    const view = new DataView(new ArrayBuffer(8));
    if (type === "f32") view.setFloat32(0, Number(value), true);
    else if (type === "f64") view.setFloat64(0, Number(value), true);
    else view.setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
    this.bytes(new Uint8Array(view.buffer, 0, bytes));
  }

  string(text: string, length?: bigint): void {
    const bytes = new TextEncoder().encode(text);
    this.number("u64", length ?? bytes.length);
    this.bytes(bytes);
  }

  value(type: ScalarType | "string", value: WrittenScalar, length?: bigint): void {
    if (type === "string") this.string(value as string, length);
    else this.number(type, typeof value === "boolean" ? Number(value) : (value as number | bigint));
  }

  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  zeros(count: number): void {
    this.#reserve(count);
    this.length += count;
  }

  finish(): Uint8Array {
    return this.#buffer.slice(0, this.length);
  }

  #reserve(bytes: number): void {
    const needed = this.length + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(needed, 2 * this.#buffer.length));
    larger.set(this.#buffer.subarray(0, this.length));
    this.#buffer = larger;
  }
}
