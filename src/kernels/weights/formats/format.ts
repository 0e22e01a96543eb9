// A weight format: how a GGUF file packs weights, and how the GPU reads them without ever unpacking
// them in memory.
//
// The unit of the kernels is the *chunk*: 32 consecutive weights of a row; eight chunks are a
// *super-block*. Each format has a WGSL fragment with `packed_scales_of`, `packed_of`, `four_of`
// and `scales_of`, appended to a kernel's shader; `unpack.wgsl` says what they return; all else is
// the same for all formats. Blocks of a file come in sizes that WGSL cannot load well (18, 22, 34,
// 110, 210 bytes), so a tensor is regrouped while it is uploaded, by moving bits only, into planes
// that every lane can read with aligned wide loads: all quants of a tensor, then the scales of all
// its super-blocks, and so on. A *block* is the place of a chunk in them.

import type { Placement } from "../../adapter/adapter.ts";

/** One plane of a tensor on the GPU: a binding of its own, a buffer or a texture. */
export interface Plane {
  /** Name of the WGSL variable that reads it. */
  readonly name: string;
  /** The unit that it has bytes for: a chunk, or eight neighbouring chunks of a row. */
  readonly unit: "chunk" | "super-block";
  /** Bytes for each unit. */
  readonly bytes: number;
  /** The texel format and size, if the plane may be stored in a texture. */
  readonly texel?: { readonly format: "rgba32uint" | "rg32uint"; readonly bytes: number };
}

const SIXTEEN = { format: "rgba32uint", bytes: 16 } as const;

/**
 * The plane of quants, of which most formats read 16 bytes at a time; read by
 * `weights/planes/quants` or `cpu/planes/quants`.
 */
export function quantsPlane(bytes: number): Plane {
  return { name: "quants", unit: "chunk", bytes, texel: SIXTEEN };
}

/**
 * Two bits a weight that some formats have; read by `weights/planes/pairs` or `cpu/planes/pairs`.
 */
export const PAIRS: Plane = {
  name: "pairs",
  unit: "chunk",
  bytes: 8,
  texel: { format: "rg32uint", bytes: 8 },
};

/**
 * The data of a super-block's chunks besides quants, such as scales; read by
 * `weights/planes/scales` or `cpu/planes/scales`.
 */
export function scalesPlane(bytes: 16 | 32): Plane {
  return { name: "scales", unit: "super-block", bytes, texel: SIXTEEN };
}

/**
 * A bit a weight that some formats have, a word a chunk; read by `weights/planes/bits` or
 * `cpu/planes/bits`.
 */
export const BITS: Plane = { name: "bits", unit: "super-block", bytes: 32, texel: SIXTEEN };

/** Scales of scales that do not fit the plane of scales: a word. */
export const SUPER_SCALES: Plane = { name: "super_scales", unit: "super-block", bytes: 4 };

export interface WeightFormat {
  /** Its name in ggml, such as "Q4_K". */
  readonly name: string;
  /** The WGSL fragment beside this file, such as "weights/formats/q4-k". */
  readonly fragment: string;
  /** Weights a block. Row lengths are multiples of it. */
  readonly blockWeights: number;
  /** Bytes a block in the file. */
  readonly blockBytes: number;
  /**
   * Byte offsets of the f16 scales and minima in a block; none if the weights are floats
   * themselves.
   */
  readonly scaleOffsets: readonly number[];
  readonly planes: readonly Plane[];
  /** Decodes whole blocks as the file packs them. This is the specification of the format. */
  decode(file: Uint8Array, out: Float32Array): void;
  /**
   * Moves `blocks` blocks of the file, `blockBytes` each, into the planes, which start at byte 0 of
   * each target. `file` is aligned to four bytes if its rows are whole words, otherwise to two or
   * one.
   */
  regroup(file: Uint8Array, blocks: number, planes: readonly Uint8Array[]): void;
}

/** The shaders that decode a format: appended to one that reads weights. */
export function decoderOf(format: WeightFormat, placement: Placement = "rows"): string[] {
  const wide = format.planes.filter(({ texel }) => texel);
  const room = placement === "rows" ? "weights/planes" : "cpu/planes";
  const planes = wide.map(({ name }) => `${room}/${name}`);
  return [format.fragment, ...planes, `${room}/${placement}`, "weights/planes/unpack"];
}

/** Chunks a super-block. */
export const SUPER = 8;

/** The bytes of a row of `k` weights in the file. */
export function rowBytes(format: WeightFormat, k: number): number {
  return (k / format.blockWeights) * format.blockBytes;
}

// ---- moves shared by several formats ----------------------------------------------------------

/**
 * 32 bytes that hold two chunks (one in the low nibbles, one in the high) become two chunks of 16
 * bytes, in which byte j holds weight j low and weight j + 16 high. `from` and the targets are
 * indices of 32-bit words.
 */
export function splitNibbles(
  file: Uint32Array,
  from: number,
  out: Uint32Array,
  low: number,
  high: number,
): void {
  for (let i = 0; i < 4; i++) {
    const a = file[from + i]!;
    const b = file[from + 4 + i]!;
    out[low + i] = (a & 0x0f0f0f0f) | ((b & 0x0f0f0f0f) << 4);
    out[high + i] = ((a >>> 4) & 0x0f0f0f0f) | (b & 0xf0f0f0f0);
  }
}

/**
 * 32 bytes that hold four chunks, chunk c in the two bits at 2c of each, become four chunks of 8
 * bytes, in which weight 4i + k is in byte k of word i >> 2, at bit 2 (i & 3), so that a shift and
 * a mask give four neighbours at once.
 */
export function gatherPairs(file: Uint32Array, from: number, out: Uint32Array, to: number): void {
  for (let word = 0; word < 2; word++) {
    // In each byte of four words, four pairs of bits: a 4 x 4 matrix, transposed by halves and then
    // by quarters.
    const [i, o] = [from + 4 * word, to + word];
    let [a, b, c, d] = [file[i]!, file[i + 1]!, file[i + 2]!, file[i + 3]!];
    const ac = ((a >>> 4) ^ c) & 0x0f0f0f0f;
    const bd = ((b >>> 4) ^ d) & 0x0f0f0f0f;
    a ^= ac << 4;
    b ^= bd << 4;
    c ^= ac;
    d ^= bd;
    const ab = ((a >>> 2) ^ b) & 0x33333333;
    const cd = ((c >>> 2) ^ d) & 0x33333333;
    out[o] = a ^ (ab << 2);
    out[o + 2] = b ^ ab;
    out[o + 4] = c ^ (cd << 2);
    out[o + 6] = d ^ cd;
  }
}

/**
 * Bit `shift` of each of 32 bytes becomes one word whose bit l belongs to weight l of the chunk.
 */
export function gatherBits(file: Uint32Array, from: number, shift: number): number {
  let packed = 0;
  for (let i = 0; i < 8; i++) {
    // The product moves bits 0, 8, 16, 24 to 28..31 without a carry.
    const four = Math.imul((file[from + i]! >>> shift) & 0x01010101, 0x10204080) >>> 28;
    packed |= four << (4 * i);
  }
  return packed;
}

/**
 * The words of a block that may begin in the middle of a word: in place in the file if it does not,
 * otherwise shifted into `block`. `from` is an index of halves. Returns the array and the index in
 * it of the block's first word.
 */
export function alignedBlock(
  file: Uint32Array,
  from: number,
  block: Uint32Array,
): [Uint32Array, number] {
  const first = from >> 1;
  if (from % 2 === 0) return [file, first];
  let word = file[first]!;
  for (let j = 0; j < block.length; j++) {
    const next = file[first + j + 1]!;
    block[j] = (word >>> 16) | (next << 16);
    word = next;
  }
  return [block, 0];
}

/** The 16-bit words of a plane or a file. Throws if a byte would be left over. */
export function halves(bytes: Uint8Array): Uint16Array {
  if (bytes.length % 2 !== 0) throw new RangeError(`${bytes.length} bytes are no whole halves`);
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
}

/**
 * The 32-bit words of a plane or a file whose bytes begin at a multiple of four; a partial word at
 * the end is left out.
 */
export function words(bytes: Uint8Array): Uint32Array {
  if (bytes.length % 2 !== 0) throw new RangeError(`${bytes.length} bytes are no whole halves`);
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
}
