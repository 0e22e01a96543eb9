// The file of a saved session: a sequence with its pages. It is untrusted: everything is checked
// before it is used.
//
//   "DAWNSESS"  u32 version  u32 J  u32 T  J bytes of JSON, a multiple of 4  u32 ids [T]  seal
//   for each group, for each of its layers:  keys of its pages, one after the other  seal
//                                            values of its pages                     seal
//
// Little-endian, as every machine that runs Dawn. A seal is a SHA-256: of the seal before it (32
// zeros for the first) and of the SHA-256 of each MiB between the two. It detects any change, also
// of parts that changed places, and no part is given out before its seal is checked. Lengths and
// types are checked too, since a forged file may have valid seals.

import { UserError } from "../../errors.ts";
import { differenceOf, type MadeBy, type SavedSession } from "./saved-session.ts";
import { decodeSession, encodeSession, MAX_JSON_BYTES } from "./session-json.ts";

/** The bytes of a file, of which any piece can be read: a `ByteSource`, for example. */
export interface SessionSource {
  /** For messages. */
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** Fills `into` from byte `offset` on. */
  read(offset: number, into: Uint8Array): Promise<void>;
}

/** The keys, or the values, of all pages of one layer: what is read and written at once. */
export interface SessionPart {
  /** The group's place in `madeBy.groups` and in `pages`. */
  readonly group: number;
  /** The layer's number in the model. */
  readonly layer: number;
  readonly of: "keys" | "values";
  /** Half a page for each page of the group. */
  readonly byteLength: number;
}

/** A file is not a session, is damaged, or was made with another model or setting. */
export class SessionFileError extends UserError {
  override readonly name = "SessionFileError";
}

const MAGIC = new TextEncoder().encode("DAWNSESS");
const VERSION = 1;
const FRONT_BYTES = MAGIC.length + 12;
const SEAL_BYTES = 32;

/** The parts of a session's file, in their order. */
export function partsOf({ madeBy, pages }: SavedSession): SessionPart[] {
  return madeBy.groups.flatMap(({ layers }, group) => {
    const byteLength = pages[group]!.length * (madeBy.pageBytes / 2);
    return layers.flatMap((layer) => [
      { group, layer, of: "keys" as const, byteLength },
      { group, layer, of: "values" as const, byteLength },
    ]);
  });
}

/**
 * Bytes of all parts with their seals, before there is an object for each. Exact if they are those
 * of a file: a sum that is rounded is beyond 2^53.
 */
function bytesOfParts({ madeBy, pages }: SavedSession): number {
  return madeBy.groups.reduce((sum, { layers }, group) => {
    const sealed = pages[group]!.length * (madeBy.pageBytes / 2) + SEAL_BYTES;
    return sum + layers.length * 2 * sealed;
  }, 0);
}

/**
 * Writes a session, piece by piece; `parts` are the bytes of `partsOf(session)`, and none is kept.
 * Throws a `UserError` if the session cannot be saved, and what `parts` and `write` throw. The file
 * is complete only if nothing is thrown.
 */
export async function writeSession(
  session: SavedSession,
  parts: AsyncIterable<Uint8Array>,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const header = encodeHeader(session);
  await write(header);
  let last = await sealOf(undefined, header);
  await write(last);
  const expected = partsOf(session);
  let written = 0;
  for await (const bytes of parts) {
    const part = expected[written++];
    if (bytes.length !== part?.byteLength) {
      throw new Error(`part ${written} of a session has ${bytes.length} bytes: ${describe(part)}`);
    }
    await write(bytes);
    last = await sealOf(last, bytes);
    await write(last);
  }
  if (written < expected.length) {
    throw new Error(`a session ends after part ${written}: ${describe(expected[written])}`);
  }
}

function describe(part: SessionPart | undefined): string {
  if (part === undefined) return "there should be no more";
  return `${part.of} of layer ${part.layer} should have ${part.byteLength}`;
}

function encodeHeader(session: SavedSession): Uint8Array<ArrayBuffer> {
  const { ids } = session;
  const json = encoded(session);
  const idsAt = FRONT_BYTES + json.length;
  const bytes = new Uint8Array(idsAt + ids.length * 4);
  bytes.set(MAGIC);
  new Uint32Array(bytes.buffer, MAGIC.length, 3).set([VERSION, json.length, ids.length]);
  bytes.set(json, FRONT_BYTES);
  new Uint32Array(bytes.buffer, idsAt).set(ids);
  return bytes;
}

function encoded(session: SavedSession): Uint8Array {
  try {
    return encodeSession(session);
  } catch (error) {
    throw error instanceof UserError
      ? new UserError(`The session cannot be saved: ${sentence(error)}.`)
      : error;
  }
}

/** An error's message without a full stop, as a part of another message. */
function sentence({ message }: Error): string {
  return message.replace(/\.$/, "");
}

/** The file of a session, open for reading. */
export class SessionFile {
  /** All but the bytes of the pages. */
  readonly session: SavedSession;
  readonly #source: SessionSource;
  /** Where the header ends, and its seal. */
  readonly #header: { readonly at: number; readonly seal: Uint8Array };

  private constructor(
    source: SessionSource,
    session: SavedSession,
    header: { readonly at: number; readonly seal: Uint8Array },
  ) {
    this.#source = source;
    this.session = session;
    this.#header = header;
  }

  /**
   * Reads all but the bytes of the pages. Throws a `SessionFileError` if `writeSession` cannot have
   * written this much of the file, or a file of this size, and what the source throws if it cannot
   * be read.
   */
  static async open(source: SessionSource): Promise<SessionFile> {
    const { jsonBytes, idCount, end } = await readFront(source);
    const { bytes, seal } = await readSealed(source, "header", { at: 0, byteLength: end });
    const idsAt = FRONT_BYTES + jsonBytes;
    const json = bytes.subarray(FRONT_BYTES, idsAt);
    const session = decoded(source, json, new Uint32Array(bytes.buffer, idsAt, idCount));
    const at = end + SEAL_BYTES;
    const needed = bytesOfParts(session);
    if (at + needed !== source.size) {
      throw damaged(source, `its pages should have ${needed} bytes, and have ${source.size - at}`);
    }
    return new SessionFile(source, session, { at, seal });
  }

  /** Throws a `SessionFileError` that names the first difference between two makes. */
  checkMadeBy(here: MadeBy): void {
    const difference = differenceOf(this.session.madeBy, here);
    if (difference === undefined) return;
    throw new SessionFileError(
      `${this.#source.name}: the session cannot be used here: ${difference}`,
    );
  }

  /**
   * The parts in their order, each read when it is asked for, in memory of its own, and given out
   * only if it is as it was written. Throws a `SessionFileError` at the first that is not.
   */
  async *parts(): AsyncGenerator<SessionPart & { readonly bytes: Uint8Array<ArrayBuffer> }> {
    let { at, seal: last } = this.#header;
    for (const part of partsOf(this.session)) {
      const { layer, of, byteLength } = part;
      const what = `part with the ${of} of layer ${layer}`;
      const { bytes, seal } = await readSealed(this.#source, what, { at, byteLength, last });
      yield { ...part, bytes };
      at += byteLength + SEAL_BYTES;
      last = seal;
    }
  }
}

/** The lengths at the beginning of a file, and where its header ends, within the file. */
async function readFront(source: SessionSource) {
  const front = new Uint8Array(Math.min(FRONT_BYTES, source.size));
  await source.read(0, front);
  if (!MAGIC.every((byte, i) => front[i] === byte)) {
    throw new SessionFileError(
      `${source.name}: it is not a session: it does not begin with "DAWNSESS". Name a file that a session was saved to.`,
    );
  }
  if (front.length < FRONT_BYTES) throw damaged(source, `it has ${source.size} bytes only`);
  const [version, jsonBytes, idCount] = new Uint32Array(front.buffer, MAGIC.length, 3);
  if (version !== VERSION) {
    throw new SessionFileError(
      `${source.name}: the session has version ${version}, and version ${VERSION} can be read. Save it again.`,
    );
  }
  const end = FRONT_BYTES + jsonBytes! + idCount! * 4;
  const isJson = jsonBytes! % 4 === 0 && jsonBytes! <= MAX_JSON_BYTES;
  if (end + SEAL_BYTES > source.size || !isJson) {
    throw damaged(
      source,
      `${jsonBytes} bytes of JSON and ${idCount} tokens cannot be in its ${source.size} bytes`,
    );
  }
  return { jsonBytes: jsonBytes!, idCount: idCount!, end };
}

/** Reads bytes with their seal behind them, and checks it. The caller has checked the length. */
async function readSealed(
  source: SessionSource,
  what: string,
  { at, byteLength, last }: { at: number; byteLength: number; last?: Uint8Array },
) {
  const all = allocate(source, byteLength + SEAL_BYTES);
  await source.read(at, all);
  const bytes = all.subarray(0, byteLength);
  const expected = await sealOf(last, bytes);
  if (!expected.every((byte, i) => byte === all[byteLength + i])) {
    throw damaged(source, `its ${what} was changed`);
  }
  return { bytes, seal: expected };
}

function allocate(source: SessionSource, byteLength: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(byteLength);
  } catch {
    throw new SessionFileError(
      `${source.name}: the session has ${byteLength} bytes in one piece, more than there is memory for. Use a machine with more memory.`,
    );
  }
}

/** What is hashed at once: WebCrypto copies it. 1 MiB is as fast as any: 1.1 GB/s here. */
const HASHED_BYTES = 2 ** 20;

/** SHA-256 of the seal before, 32 zeros for the header, and of the SHA-256 of each MiB. */
async function sealOf(
  last: Uint8Array | undefined,
  bytes: Uint8Array,
): Promise<Uint8Array<ArrayBuffer>> {
  const pieces = Math.ceil(bytes.length / HASHED_BYTES);
  const digests = new Uint8Array((1 + pieces) * SEAL_BYTES);
  digests.set(last ?? []);
  for (let i = 0; i < pieces; i++) {
    const piece = bytes.subarray(i * HASHED_BYTES, (i + 1) * HASHED_BYTES);
    digests.set(await sha256(piece), (1 + i) * SEAL_BYTES);
  }
  return sha256(digests);
}

async function sha256(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
}

function decoded(source: SessionSource, json: Uint8Array, ids: Uint32Array): SavedSession {
  try {
    return decodeSession(json, ids);
  } catch (error) {
    throw error instanceof UserError ? damaged(source, sentence(error)) : error;
  }
}

function damaged(source: SessionSource, why: string): SessionFileError {
  return new SessionFileError(
    `${source.name}: the session is damaged: ${why}. Save it again, or use another copy.`,
  );
}
