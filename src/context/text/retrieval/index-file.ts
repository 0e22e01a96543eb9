// The one file of an index. It is untrusted: everything is checked before it is used.
//
//   "DAWNINDX"   u32 version   u32 J   J bytes of JSON, a multiple of 4   f32 vectors [N, D]
//   SHA-256 of all before it
//
// Little-endian, as every machine that runs Dawn. The checksum detects damage; lengths and types
// are checked too, since a forged file may have a valid checksum.

import { UserError } from "../../../errors.ts";
import { instance } from "../../../option-reader.ts";
import { POOLINGS, type Pooling } from "../embedder.ts";
import { checkWindows, type WindowOptions } from "../windows.ts";

/** A window of a document, which has one vector. */
export interface Chunk {
  readonly text: string;
  /** The name of the document. */
  readonly source: string;
  /** The tokens of the document that it holds: from `start` up to, and without, `end`. */
  readonly start: number;
  readonly end: number;
}

/** How documents are cut and embedded: the same for a whole index and its queries. */
export interface IndexSetting extends Required<WindowOptions> {
  readonly overlap: number;
  readonly pooling: Pooling;
  readonly layer: number;
  /** Whether vectors are whitened before cosines. */
  readonly whiten: boolean;
}

export interface IndexContents {
  readonly model: { readonly name: string; readonly fingerprint: string; readonly width: number };
  readonly setting: IndexSetting;
  readonly chunks: readonly Chunk[];
  /** [N] of [width], of length 1. */
  readonly vectors: readonly Float32Array[];
}

/** A file is not an index, is damaged, or was made with another model. */
export class IndexFileError extends UserError {
  override readonly name = "IndexFileError";
}

const MAGIC = new TextEncoder().encode("DAWNINDX");
const VERSION = 1;
const FRONT_BYTES = MAGIC.length + 8;
const CHECKSUM_BYTES = 32;

export async function encodeIndex(contents: IndexContents): Promise<Uint8Array> {
  const { model, setting, chunks, vectors } = contents;
  const json = new TextEncoder().encode(JSON.stringify({ model, setting, chunks }));
  const jsonBytes = Math.ceil(json.length / 4) * 4;
  const vectorBytes = model.width * 4;
  const end = FRONT_BYTES + jsonBytes + vectors.length * vectorBytes;
  const bytes = new Uint8Array(end + CHECKSUM_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(MAGIC.length, VERSION, true);
  view.setUint32(MAGIC.length + 4, jsonBytes, true);
  bytes.set(json, FRONT_BYTES);
  bytes.fill(0x20, FRONT_BYTES + json.length, FRONT_BYTES + jsonBytes); // JSON may end in spaces
  const floats = new Float32Array(
    bytes.buffer,
    FRONT_BYTES + jsonBytes,
    vectors.length * model.width,
  );
  for (const [i, vector] of vectors.entries()) floats.set(vector, i * model.width);
  bytes.set(await checksum(bytes.subarray(0, end)), end);
  return bytes;
}

/** Throws an `IndexFileError` for anything that `encodeIndex` cannot have written. */
export async function decodeIndex(bytes: Uint8Array): Promise<IndexContents> {
  instance(Uint8Array, "the bytes of an index")(bytes, "index");
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) {
    throw new IndexFileError(
      'Not an index: it does not begin with "DAWNINDX". Make one with `dawnstream index`.',
    );
  }
  const damaged = (why: string) =>
    new IndexFileError(`The index is damaged: ${why}. Make it again.`);
  const end = bytes.length - CHECKSUM_BYTES;
  if (end < FRONT_BYTES) throw damaged(`it has ${bytes.length} bytes only`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = view.getUint32(MAGIC.length, true);
  if (version !== VERSION) {
    throw new IndexFileError(
      `The index has version ${version}; version ${VERSION} can be read. Make it again.`,
    );
  }
  const expected = await checksum(bytes.subarray(0, end));
  if (!expected.every((byte, i) => bytes[end + i] === byte)) {
    throw damaged("its checksum is another, so that it was cut off or changed");
  }
  const jsonBytes = view.getUint32(MAGIC.length + 4, true);
  const vectorsAt = FRONT_BYTES + jsonBytes;
  if (vectorsAt > end) throw damaged(`its header claims ${jsonBytes} of ${bytes.length} bytes`);
  const header = readHeader(bytes.subarray(FRONT_BYTES, vectorsAt));
  if (!header) throw damaged("its header is not that of an index");
  const { width } = header.model;
  const count = header.chunks.length;
  if (end - vectorsAt !== count * width * 4) {
    throw damaged(`${count} vectors of ${width} numbers are not ${end - vectorsAt} bytes`);
  }
  // A copy, since the bytes may have any offset; not by `slice`, which does not copy Node's
  // buffers.
  const floats = new Float32Array(new Uint8Array(bytes.subarray(vectorsAt, end)).buffer);
  if (!floats.every(Number.isFinite)) throw damaged("a vector holds what is no number");
  const vectors = Array.from({ length: count }, (_, i) =>
    floats.subarray(i * width, (i + 1) * width),
  );
  return { ...header, vectors };
}

async function checksum(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(bytes)));
}

/** What the JSON says if it is a header, each field of its type. */
function readHeader(json: Uint8Array): Omit<IndexContents, "vectors"> | undefined {
  let value: Partial<IndexContents> | null;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch {
    return undefined;
  }
  const { model, setting, chunks } = value ?? {};
  const isHeader =
    typeof model?.name === "string" &&
    typeof model.fingerprint === "string" &&
    isCount(model.width) &&
    model.width > 0 &&
    isSetting(setting) &&
    Array.isArray(chunks) &&
    chunks.every(isChunk);
  return isHeader ? { model, setting, chunks } : undefined;
}

function isSetting(value: IndexSetting | undefined): value is IndexSetting {
  if (!isCount(value?.layer) || typeof value.whiten !== "boolean") return false;
  if (!POOLINGS.includes(value.pooling)) return false;
  try {
    checkWindows({ size: value.size, overlap: value.overlap });
    return true;
  } catch {
    return false;
  }
}

function isChunk(value: Chunk | null): boolean {
  return (
    typeof value?.text === "string" &&
    typeof value.source === "string" &&
    isCount(value.start) &&
    isCount(value.end)
  );
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
