// Repeatable random numbers, and random weights: random bits around sensible scales.

import { rowBytes, type WeightFormat } from "../../kernels/weights/formats/format.ts";

/** A repeatable source of uniform numbers in [0, 1). */
export function uniform(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` repeatable numbers in (-scale, scale). */
export function randomFloats(seed: number, count: number, scale = 1): Float32Array {
  const next = uniform(seed);
  return Float32Array.from({ length: count }, () => (2 * next() - 1) * scale);
}

/**
 * The file's bytes of a tensor [n, k]: every bit random, but that scales (and the numbers of F32,
 * F16 and BF16, which are nothing else) are finite, of either sign, and between 2^-10 and 4.
 * Subnormal numbers are left out: WGSL lets an adapter take them for zero.
 */
export function randomTensor(
  format: WeightFormat,
  n: number,
  k: number,
  seed: number,
): Uint8Array<ArrayBuffer> {
  const next = uniform(seed);
  const file = new Uint8Array(n * rowBytes(format, k));
  for (let i = 0; i < file.length; i++) file[i] = next() * 256;
  const view = new DataView(file.buffer);
  const between = (low: number, high: number) => low + Math.floor(next() * (high - low));
  // (sign, exponent, fraction) with an unbiased exponent of -10 to 1
  const float = (exponentBits: number, fractionBits: number) => {
    const bias = 2 ** (exponentBits - 1) - 1;
    const sign = between(0, 2) * 2 ** (exponentBits + fractionBits);
    return sign + (bias + between(-10, 2)) * 2 ** fractionBits + between(0, 2 ** fractionBits);
  };
  for (let at = 0; at < file.length; at += format.blockBytes) {
    if (format.name === "F32") view.setUint32(at, float(8, 23), true);
    else if (format.name === "BF16") view.setUint16(at, float(8, 7), true);
    else if (format.name === "F16") view.setUint16(at, float(5, 10), true);
    else for (const half of format.scaleOffsets) view.setUint16(at + half, float(5, 10), true);
  }
  return file;
}

/** All weights of a tensor, by the plain decoder. */
export function decode(format: WeightFormat, file: Uint8Array): Float32Array {
  const out = new Float32Array((file.length / format.blockBytes) * format.blockWeights);
  format.decode(file, out);
  return out;
}
