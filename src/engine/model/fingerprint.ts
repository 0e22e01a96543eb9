// Identifies a model by the bytes that were uploaded to the GPU.

import type { GgufFile } from "../gguf/gguf.ts";

const BLOCK = 16;

// The primes of XXH32 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
const PRIME_1 = 0x9e3779b1;
const PRIME_2 = 0x85ebca77;

/**
 * The four accumulators of XXH32 over bytes that come in pieces of any size, the last block padded
 * with zeros. A change of one word always changes them; it does not withstand attacks. It reads
 * gigabytes a second, faster than a disk.
 */
export class ContentHash {
  /** Signed, as engines multiply whole numbers: unsigned ones would become floats on the way. */
  readonly #lanes: Int32Array = Int32Array.of(PRIME_1 + PRIME_2, PRIME_2, 0, -PRIME_1);
  readonly #rest: Uint8Array<ArrayBuffer> = new Uint8Array(BLOCK);
  /** Bytes so far; those after the last whole block are in `#rest`. */
  #bytes = 0;

  update(bytes: Uint8Array): void {
    const waiting = this.#bytes % BLOCK;
    this.#bytes += bytes.length;
    let at = 0;
    if (waiting > 0) {
      at = Math.min(BLOCK - waiting, bytes.length);
      this.#rest.set(bytes.subarray(0, at), waiting);
      if (waiting + at < BLOCK) return;
      this.#mix(new Int32Array(this.#rest.buffer));
    }
    const whole = Math.floor((bytes.length - at) / BLOCK) * BLOCK;
    const { buffer, byteOffset } = bytes;
    const start = byteOffset + at;
    const blocks =
      start % 4 === 0
        ? new Int32Array(buffer, start, whole / 4)
        : new Int32Array(bytes.slice(at, at + whole).buffer);
    this.#mix(blocks);
    this.#rest.set(bytes.subarray(at + whole));
  }

  #mix(words: Int32Array): void {
    let [a, b, c, d] = this.#lanes as unknown as [number, number, number, number];
    for (let i = 0; i < words.length; i += 4) {
      a = round(a, words[i]!);
      b = round(b, words[i + 1]!);
      c = round(c, words[i + 2]!);
      d = round(d, words[i + 3]!);
    }
    this.#lanes.set([a, b, c, d]);
  }

  /** The number of bytes and the accumulators, in hexadecimal. */
  digest(): string {
    const waiting = this.#bytes % BLOCK;
    const lanes = this.#lanes.slice();
    if (waiting > 0) {
      this.#mix(new Int32Array(this.#rest.slice().fill(0, waiting).buffer));
    }
    const hex = [this.#bytes, ...new Uint32Array(this.#lanes)]
      .map((n) => n.toString(16).padStart(8, "0"))
      .join("");
    this.#lanes.set(lanes);
    return hex;
  }
}

function round(lane: number, word: number): number {
  const sum = (lane + Math.imul(word, PRIME_2)) | 0;
  return Math.imul((sum << 13) | (sum >>> 19), PRIME_1);
}

/** The names, types and shapes of all tensors, in the order of their names. */
export function tensorList({ tensors }: GgufFile): string {
  const list = [...tensors.values()].map(({ name, type, shape }) => [name, type, shape]);
  return JSON.stringify(list.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)));
}

/** SHA-256, in hexadecimal, of what identifies a model and its setting. */
export async function fingerprint(...parts: readonly unknown[]): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(parts));
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
