import { halfToFloat } from "../half.ts";
import type { WeightFormat } from "./format.ts";
import {
  alignedBlock,
  BITS,
  gatherBits,
  gatherPairs,
  halves,
  PAIRS,
  scalesPlane,
  words,
} from "./format.ts";

const block = new Uint32Array(27);

/**
 * Q3_K, 110 bytes for 256 weights: 32 bytes of third bits (bit c of byte l for weight l of chunk
 * c), 64 bytes of two-bit quants as Q2_K, 12 bytes of sixteen 6-bit scales, f16 d. w = d (scale -
 * 32) (q - (third ? 0 : 4)).
 */
export const Q3_K: WeightFormat = {
  name: "Q3_K",
  fragment: "weights/formats/q3-k",
  blockWeights: 256,
  blockBytes: 110,
  scaleOffsets: [108],
  planes: [PAIRS, BITS, scalesPlane(16)],
  decode(file, out) {
    for (let b = 0, y = 0; y < out.length; b += 110, y += 256) {
      const d = halfToFloat(file[b + 108]! | (file[b + 109]! << 8));
      for (let i = 0; i < 256; i++) {
        const chunk = i >> 5;
        const group = i >> 4;
        const nibble = group < 8 ? file[b + 96 + group]! & 15 : file[b + 88 + group]! >> 4;
        const upper = (file[b + 104 + (group & 3)]! >> (2 * (group >> 2))) & 3;
        const q = (file[b + 32 + 32 * (chunk >> 2) + (i & 31)]! >> (2 * (chunk & 3))) & 3;
        const third = (file[b + (i & 31)]! >> chunk) & 1;
        out[y + i] = d * ((nibble | (upper << 4)) - 32) * (q - (third ? 0 : 4));
      }
    }
  },
  regroup(file, blocks, [pairs, bits, scales]) {
    const [f, q, thirds, h] = [words(file), words(pairs!), words(bits!), words(scales!)];
    const each = halves(file);
    for (let i = 0, b = 0; i < blocks; i++, b += 55) {
      const [w, at] = alignedBlock(f, b, block);
      for (let chunk = 0; chunk < 8; chunk++) thirds[8 * i + chunk] = gatherBits(w, at, chunk);
      for (let half = 0; half < 2; half++) {
        gatherPairs(w, at + 8 + 8 * half, q, 16 * i + 8 * half);
      }
      for (let j = 0; j < 3; j++) h[4 * i + j] = w[at + 24 + j]!;
      h[4 * i + 3] = each[b + 54]!;
    }
  },
};
