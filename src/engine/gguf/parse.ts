import {
  DEFAULT_ALIGNMENT,
  LIMITS,
  MAGIC,
  REMOVED_TENSOR_TYPES,
  SCALAR_TYPES,
  SIZED_TYPES,
  TENSOR_TYPES,
  type TensorType,
  type ValueType,
} from "./format.ts";
import type { MetadataArray, MetadataValue } from "./metadata.ts";
import { Cursor, quote } from "./reader.ts";
import type { ByteSource } from "./source.ts";

export interface TensorInfo {
  readonly name: string;
  /** In ggml's order: shape[0] is the length of a row, its elements adjacent. */
  readonly shape: readonly number[];
  readonly type: TensorType;
  /** Where its data starts in `source`, from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
  readonly source: ByteSource;
}

/** The content of one file's header, before shards are joined. */
export interface Parsed {
  readonly version: 2 | 3;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
}

const ALIGNMENT_KEY = "general.alignment";

/** The shortest records that a file can hold, in bytes: an empty name, and no optional part. */
const SHORTEST_KEY_VALUE = 8 + 1 + 4 + 1; // length, one letter, type, a u8
const SHORTEST_TENSOR = 8 + 4 + 4 + 8; // length, dimensions (none), type, offset

const VALUE_TYPES: ReadonlyMap<number, ValueType> = byId({ ...SCALAR_TYPES, ...SIZED_TYPES });
const TENSOR_TYPES_BY_ID: ReadonlyMap<number, TensorType> = byId(TENSOR_TYPES);

function byId<Name extends string>(table: Record<Name, { id: number }>): Map<number, Name> {
  return new Map((Object.keys(table) as Name[]).map((name) => [table[name].id, name]));
}

/**
 * Reads the header of one file, with every check of ggml's own reader. The layout:
 *
 *     magic, version, number of tensors, number of keys
 *     for each key:    name, type of its value, value
 *     for each tensor: name, shape, type, offset from the start of the data
 *     padding up to the alignment, then the data
 */
export async function parseGguf(source: ByteSource, windowBytes?: number): Promise<Parsed> {
  const cursor = new Cursor(source, windowBytes);
  const version = await readVersion(cursor);
  const tensorCount = await cursor.count("a tensor count", LIMITS.tensors, SHORTEST_TENSOR);
  const keyCount = await cursor.count("a key count", LIMITS.metadataKeys, SHORTEST_KEY_VALUE);

  const metadata = new Map<string, MetadataValue>();
  for (let i = 0; i < keyCount; i++) await readKeyValue(cursor, metadata);
  const alignment = (metadata.get(ALIGNMENT_KEY) as number | undefined) ?? DEFAULT_ALIGNMENT;

  const records = new Map<string, TensorRecord>();
  let dataBytes = 0;
  for (let i = 0; i < tensorCount; i++) {
    const record = await readTensor(cursor, records, dataBytes);
    records.set(record.name, record);
    dataBytes = padded(dataBytes + record.bytes, alignment);
    // This sum is exact here; llama.cpp has to guard it against wrapping to a small number
    // (CVE-2025-53630).
    if (!Number.isSafeInteger(dataBytes)) {
      throw cursor.error(record.at, "tensors of less than 2^53 bytes in all", `${dataBytes}`);
    }
  }

  const dataStart = padded(cursor.offset, alignment);
  const tensors = new Map<string, TensorInfo>();
  for (const { at, ...record } of records.values()) {
    const offset = dataStart + record.offset;
    const end = offset + record.bytes;
    if (end > source.size) {
      const expected = `the data of tensor ${quote(record.name)} up to byte ${end}`;
      throw cursor.error(at, expected, `a file of ${source.size} bytes`);
    }
    tensors.set(record.name, { ...record, offset, source });
  }
  return { version, metadata, tensors };
}

async function readVersion(cursor: Cursor): Promise<2 | 3> {
  const magic = await cursor.u32("magic");
  const letters = [0, 8, 16, 24]
    .map((shift) => String.fromCharCode((magic >> shift) & 0xff))
    .join("");
  if (letters !== MAGIC) {
    const advice = "This is no GGUF model; models on the web carry GGUF in their names.";
    throw cursor.error(0, `the magic "${MAGIC}"`, quote(letters), advice);
  }

  const at = cursor.offset;
  const version = await cursor.u32("version");
  if (version === 2 || version === 3) return version;
  const expected = "GGUF version 2 or 3";
  if (version === 1) {
    const advice = "Convert the model again: no current program writes version 1.";
    throw cursor.error(at, expected, "version 1", advice);
  }
  // The upper half of a version is always zero, so it shows the byte order, as in llama.cpp.
  if (version !== 0 && (version & 0xffff) === 0) {
    const advice =
      "dawnstream reads little-endian files only: take a file converted for common machines.";
    throw cursor.error(at, `${expected}, little-endian`, "a big-endian file", advice);
  }
  const advice = "Either the file is damaged, or it is newer than this release of dawnstream.";
  throw cursor.error(at, expected, `version ${version}`, advice);
}

async function readKeyValue(cursor: Cursor, metadata: Map<string, MetadataValue>): Promise<void> {
  const at = cursor.offset;
  const key = await cursor.string("a key", LIMITS.keyBytes);
  if (key === "") throw cursor.error(at, "a key", "an empty one");
  if (metadata.has(key)) throw cursor.error(at, "each key once", `${quote(key)} again`);

  const typeAt = cursor.offset;
  const type = await readValueType(cursor);
  if (key === ALIGNMENT_KEY && type !== "u32") {
    throw cursor.error(typeAt, `${ALIGNMENT_KEY} of type u32`, `type ${type}`);
  }
  const valueAt = cursor.offset;
  const value = await readValue(cursor, type, quote(key));
  if (key === ALIGNMENT_KEY && !isAlignment(value as number)) {
    const expected = `${ALIGNMENT_KEY} to be a power of two of at most ${LIMITS.alignment}`;
    throw cursor.error(valueAt, expected, `${value}`);
  }
  metadata.set(key, value);
}

async function readValueType(cursor: Cursor): Promise<ValueType> {
  const at = cursor.offset;
  const id = await cursor.u32("a value type");
  const type = VALUE_TYPES.get(id);
  if (type === undefined) throw cursor.error(at, "a value type of 0 to 12", `${id}`);
  return type;
}

async function readValue(cursor: Cursor, type: ValueType, key: string): Promise<MetadataValue> {
  if (type === "array") return readArray(cursor, key);
  if (type === "string") return cursor.string(key);
  if (type === "bool") return toBoolean(cursor, cursor.offset, await cursor.number("u8", key));
  return cursor.number(type, key);
}

async function readArray(cursor: Cursor, key: string): Promise<MetadataArray> {
  const at = cursor.offset;
  const type = await readValueType(cursor);
  if (type === "array") {
    throw cursor.error(at, `${key} to be a flat array`, "an array of arrays, which no model needs");
  }
  const what = `an item count of ${key}`;
  if (type === "string") {
    return cursor.strings(await cursor.count(what, LIMITS.arrayItems, 8), key);
  }
  if (type !== "bool") {
    const count = await cursor.count(what, LIMITS.arrayItems, SCALAR_TYPES[type].bytes);
    return cursor.numbers(type, count);
  }
  const count = await cursor.count(what, LIMITS.booleanItems, 1);
  const start = cursor.offset;
  const flags = await cursor.numbers("u8", count);
  return Array.from(flags as Uint8Array, (flag, i) => toBoolean(cursor, start + i, flag));
}

function toBoolean(cursor: Cursor, at: number, byte: number | bigint): boolean {
  if (byte !== 0 && byte !== 1) throw cursor.error(at, "a boolean, 0 or 1", `${byte}`);
  return byte === 1;
}

function isAlignment(value: number): boolean {
  return value > 0 && value <= LIMITS.alignment && (value & (value - 1)) === 0;
}

/** Multiplied, not masked: the offsets of large files are beyond 32 bits. */
function padded(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

/**
 * A tensor as the header lists it: `offset` counts from the start of the data, which is not known
 * yet.
 */
interface TensorRecord extends Omit<TensorInfo, "source"> {
  /** Where in the file its offset is written, for messages. */
  readonly at: number;
}

/** `next` is where the tensors read so far end, and therefore where this one has to start. */
async function readTensor(
  cursor: Cursor,
  before: ReadonlyMap<string, TensorRecord>,
  next: number,
): Promise<TensorRecord> {
  const nameAt = cursor.offset;
  const name = await cursor.string("a tensor name", LIMITS.tensorNameBytes);
  const what = `tensor ${quote(name)}`;
  if (before.has(name)) throw cursor.error(nameAt, "each tensor once", `${what} again`);

  const shapeAt = cursor.offset;
  const { shape, elements } = await readShape(cursor, what);

  const typeAt = cursor.offset;
  const type = await readTensorType(cursor, what);
  const block = TENSOR_TYPES[type];
  const row = shape[0] ?? 1;
  if (row % block.elements !== 0) {
    const expected = `rows of ${what} in whole ${type} blocks of ${block.elements}`;
    throw cursor.error(shapeAt, expected, `rows of ${row}`);
  }
  const bytes = (elements / block.elements) * block.bytes;
  if (!Number.isSafeInteger(bytes)) {
    throw cursor.error(typeAt, `${what} of less than 2^53 bytes`, `${elements} of type ${type}`);
  }

  const at = cursor.offset;
  const offset = await cursor.number("u64", `the offset of ${what}`);
  if (offset !== next) {
    const expected = `${what} to start at ${next} in the data, where the one before it ends`;
    throw cursor.error(at, expected, `${offset}`);
  }
  return { name, shape, type, offset: next, bytes, at };
}

async function readShape(
  cursor: Cursor,
  what: string,
): Promise<{ shape: readonly number[]; elements: number }> {
  const at = cursor.offset;
  const dimensions = await cursor.u32(`the dimensions of ${what}`);
  if (dimensions > LIMITS.dimensions) {
    throw cursor.error(at, `${what} of at most ${LIMITS.dimensions} dimensions`, `${dimensions}`);
  }
  const shape: number[] = [];
  let elements = 1;
  for (let i = 0; i < dimensions; i++) {
    const sizeAt = cursor.offset;
    const size = await cursor.number("u64", `the shape of ${what}`);
    elements *= Number(size);
    // ggml's limit is 2^63; sizes from 2^53 on fit no file, and would not be exact here.
    if (!Number.isSafeInteger(elements) || typeof size === "bigint") {
      const found = `dimension ${i} of ${size}`;
      throw cursor.error(sizeAt, `${what} of less than 2^53 elements`, found);
    }
    shape.push(size);
  }
  return { shape, elements };
}

async function readTensorType(cursor: Cursor, what: string): Promise<TensorType> {
  const at = cursor.offset;
  const id = await cursor.u32(`the type of ${what}`);
  const type = TENSOR_TYPES_BY_ID.get(id);
  if (type !== undefined) return type;
  const removed = REMOVED_TENSOR_TYPES.get(id);
  if (removed !== undefined) {
    const advice = "Quantise the model again: ggml has removed this type.";
    throw cursor.error(
      at,
      `a current type of ${what}`,
      `the removed type ${removed} (${id})`,
      advice,
    );
  }
  const advice = "Either the file is damaged, or it is newer than this release of dawnstream.";
  throw cursor.error(at, `a known type of ${what}`, `type ${id}`, advice);
}
