// How the numbers of keys and values are stored in the pages of a cache: kv-types/*.wgsl in plain
// TypeScript.

import { floatToHalf, halfToFloat } from "../weights/half.ts";

/**
 * How keys and values are stored: as floats, or in blocks along a head that share a scale, as in
 * ggml.
 */
export type KvType = "f32" | "f16" | "q8_0" | "q4_0";

/**
 * One way to store them. A cell is four numbers; a block is what one lane stores: whole cells in
 * whole words.
 */
export interface KvFormat {
  /** The shader's fragment, such as "attention/kv-types/q8-0". */
  readonly fragment: string;
  /** Numbers of a block: heads are multiples of it. */
  readonly blockNumbers: number;
  /** Bytes of a block in a page. */
  readonly blockBytes: number;
  /** The largest absolute value that it holds. */
  readonly largest: number;
  /**
   * The words of one block. A number beyond `largest` becomes NaN; in a block with a scale, all do.
   */
  pack(numbers: Float32Array): readonly number[];
  /** The numbers of one block. */
  unpack(words: Uint32Array): readonly number[];
}

const LARGEST_HALF = 65504;

const f32: KvFormat = {
  fragment: "attention/kv-types/f32",
  blockNumbers: 4,
  blockBytes: 16,
  largest: 2 ** 128 - 2 ** 104,
  pack: (numbers) => [
    ...new Uint32Array(numbers.map((x) => (Number.isFinite(x) ? x : Number.NaN)).buffer),
  ],
  unpack: (words) => [...new Float32Array(words.slice().buffer)],
};

const f16: KvFormat = {
  fragment: "attention/kv-types/f16",
  blockNumbers: 4,
  blockBytes: 8,
  largest: LARGEST_HALF,
  pack: ([a, b, c, d]) => [halves(a!, b!), halves(c!, d!)],
  unpack: ([low, high]) =>
    [low!, low! >>> 16, high!, high! >>> 16].map((h) => halfToFloat(h & 0xffff)),
};

/**
 * 32 signed bytes and a scale, d = max |x| / 127: x = d q, q rounded to nearest, ties away from
 * zero.
 */
const q8_0: KvFormat = {
  fragment: "attention/kv-types/q8-0",
  blockNumbers: 32,
  blockBytes: 36,
  largest: 127 * LARGEST_HALF,
  pack(numbers) {
    const d = Math.fround(Math.max(...numbers.map(Math.abs)) / 127);
    const q = scaled(numbers, d).map((x) => Math.sign(x) * Math.round(Math.abs(x)));
    const words = Array.from({ length: 8 }, (_, w) => word(q.subarray(4 * w, 4 * w + 4)));
    return [...words, storedHalf(d)];
  },
  unpack(words) {
    const d = halfToFloat(words[8]!);
    return [...new Int8Array(words.slice(0, 8).buffer)].map((q) => d * q);
  },
};

/**
 * 32 nibbles and a scale, d = the x of largest |x|, / -8: x = d (q - 8), q rounded to nearest and
 * at most 15. Byte j holds number j in its low and number j + 16 in its high nibble.
 */
const q4_0: KvFormat = {
  fragment: "attention/kv-types/q4-0",
  blockNumbers: 32,
  blockBytes: 20,
  largest: 8 * LARGEST_HALF,
  pack(numbers) {
    // NaN counts as the largest.
    const largest = numbers.reduce((a, b) =>
      Number.isNaN(a) || Math.abs(b) <= Math.abs(a) ? a : b,
    );
    const d = Math.fround(largest / -8);
    const q = scaled(numbers, d).map((x) => Math.min(15, Math.trunc(Math.fround(x + 8.5))));
    const bytes = q.subarray(0, 16).map((low, j) => low | (q[j + 16]! << 4));
    const words = Array.from({ length: 4 }, (_, w) => word(bytes.subarray(4 * w, 4 * w + 4)));
    return [...words, storedHalf(d)];
  },
  unpack(words) {
    const d = halfToFloat(words[4]!);
    const bytes = [...new Uint8Array(words.slice(0, 4).buffer)];
    return [...bytes.map((byte) => byte & 15), ...bytes.map((byte) => byte >> 4)].map(
      (q) => d * (q - 8),
    );
  },
};

export const KV_FORMATS: Readonly<Record<KvType, KvFormat>> = { f32, f16, q8_0, q4_0 };

/** The names of all types, as in `--kv`. */
export const KV_TYPES = Object.keys(KV_FORMATS) as readonly KvType[];

/** Bytes that a number takes in a page, its share of a scale included. */
export function bytesOfNumber(kvType: KvType): number {
  const { blockBytes, blockNumbers } = KV_FORMATS[kvType];
  return blockBytes / blockNumbers;
}

/** The words of whole blocks, as pages hold them. */
export function packKv(kvType: KvType, numbers: Float32Array): Uint32Array<ArrayBuffer> {
  const { blockNumbers, blockBytes, pack } = KV_FORMATS[kvType];
  const words = new Uint32Array((numbers.length / blockNumbers) * (blockBytes / 4));
  for (let from = 0, to = 0; from < numbers.length; from += blockNumbers, to += blockBytes / 4) {
    words.set(pack(numbers.subarray(from, from + blockNumbers)), to);
  }
  return words;
}

/** The numbers that words of pages hold. */
export function unpackKv(kvType: KvType, words: Uint32Array): Float32Array {
  const { blockNumbers, blockBytes, unpack } = KV_FORMATS[kvType];
  const numbers = new Float32Array((words.length / (blockBytes / 4)) * blockNumbers);
  for (let from = 0, to = 0; from < words.length; from += blockBytes / 4, to += blockNumbers) {
    numbers.set(unpack(words.subarray(from, from + blockBytes / 4)), to);
  }
  return numbers;
}

/** Numbers as they are after storing and reading them. */
export function throughKv(kvType: KvType, numbers: Float32Array): Float32Array {
  return unpackKv(kvType, packKv(kvType, numbers));
}

/**
 * x / d as in ggml: x times the reciprocal, every step in f32, with the scale before it is rounded
 * to a half.
 */
function scaled(numbers: Float32Array, d: number): Float32Array {
  const inverse = d === 0 ? 0 : Math.fround(1 / d);
  return numbers.map((x) => x * inverse);
}

function halves(low: number, high: number): number {
  return (storedHalf(low) | (storedHalf(high) << 16)) >>> 0;
}

/** The 16 bits of a half as pages hold it: NaN beyond its range. */
function storedHalf(x: number): number {
  return floatToHalf(Math.abs(x) <= LARGEST_HALF ? x : Number.NaN);
}

/** Four bytes, the first in the lowest bits. */
function word([a, b, c, d]: Float32Array): number {
  return ((a! & 255) | ((b! & 255) << 8) | ((c! & 255) << 16) | ((d! & 255) << 24)) >>> 0;
}
