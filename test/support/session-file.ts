// Session files by hand, from the description at the top of session-file.ts and with node:crypto, so that they can be forged:
// with right seals around any content.

import { createHash } from "node:crypto";
import type { SavedSession } from "../../src/context/cache/saved-session.ts";
import type { SessionSource } from "../../src/context/cache/session-file.ts";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();

function seal(last: Uint8Array, bytes: Uint8Array): Buffer {
  const digests = [last];
  for (let at = 0; at < bytes.length; at += 1048576)
    digests.push(sha256(bytes.subarray(at, at + 1048576)));
  return sha256(Buffer.concat(digests));
}

export interface Forged {
  readonly magic?: string;
  readonly version?: number;
  /** As the header has it, the padding included; JSON of objects is padded here. */
  readonly json: Uint8Array | object;
  /** J and T, if they are to be wrong. */
  readonly jsonBytes?: number;
  readonly idCount?: number;
  readonly ids: Iterable<number>;
  readonly parts: readonly Uint8Array[];
}

/** A file with right seals. */
export function forge(forged: Forged): Uint8Array<ArrayBuffer> {
  const { magic = "DAWNSESS", version = 1, json: content, parts } = forged;
  const ids = Uint32Array.from(forged.ids);
  const json = content instanceof Uint8Array ? content : padded(JSON.stringify(content));
  const front = Buffer.alloc(20);
  front.write(magic, "latin1");
  front.writeUInt32LE(version, 8);
  front.writeUInt32LE(forged.jsonBytes ?? json.length, 12);
  front.writeUInt32LE(forged.idCount ?? ids.length, 16);
  const pieces: Uint8Array[] = [Buffer.concat([front, json, new Uint8Array(ids.buffer)])];
  let last = seal(new Uint8Array(32), pieces[0]!);
  pieces.push(last);
  for (const part of parts) {
    last = seal(last, part);
    pieces.push(part, last);
  }
  return Uint8Array.from(Buffer.concat(pieces));
}

/** UTF-8 with blanks up to a multiple of 4 bytes. */
export function padded(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4, " ")]);
}

/** The JSON of a session as its file should have it. */
export function jsonOf({ madeBy, length, pages, chat }: SavedSession) {
  const finite = <T extends { window: number }>(value: T) => ({
    ...value,
    window: value.window === Number.POSITIVE_INFINITY ? null : value.window,
  });
  const { policy, groups, ...made } = madeBy;
  const json = {
    madeBy: { ...made, policy: finite(policy), groups: groups.map(finite) },
    length,
    pages,
  };
  return structuredClone(chat === undefined ? json : { ...json, chat });
}

/** A source that counts what is asked of it, and takes no read beyond its end. */
export class CountingSource implements SessionSource {
  readonly name = "my.session";
  readonly size: number;
  readonly #bytes: Uint8Array;
  /** The most bytes of one read, and all bytes read. */
  largest = 0;
  total = 0;

  constructor(bytes: Uint8Array, size = bytes.length) {
    this.#bytes = bytes;
    this.size = size;
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    if (offset < 0 || offset + into.length > this.size) {
      throw new Error(`a read from ${offset} on of ${into.length} bytes, of ${this.size}`);
    }
    this.largest = Math.max(this.largest, into.buffer.byteLength);
    this.total += into.length;
    into.set(this.#bytes.subarray(offset, offset + into.length));
  }
}
