import { halfToFloat } from "../half.ts";
import type { WeightFormat } from "./format.ts";
import {
  alignedBlock,
  gatherPairs,
  halves,
  PAIRS,
  quantsPlane,
  SUPER_SCALES,
  scalesPlane,
  splitNibbles,
  words,
} from "./format.ts";

const block = new Uint32Array(52);

/**
 * Q6_K, 210 bytes for 256 weights: 128 bytes of nibbles, 64 bytes of upper bit pairs, 16 signed
 * byte scales (one a group of 16 weights), f16 d at the end. Of each half of 128 weights, the
 * nibble bytes 0..31 hold chunks 0 and 2, bytes 32..63 chunks 1 and 3; the pairs lie as in Q2_K. w
 * = d scale (q - 32).
 */
export const Q6_K: WeightFormat = {
  name: "Q6_K",
  fragment: "weights/formats/q6-k",
  blockWeights: 256,
  blockBytes: 210,
  scaleOffsets: [208],
  planes: [quantsPlane(16), scalesPlane(16), PAIRS, SUPER_SCALES],
  decode(file, out) {
    for (let b = 0, y = 0; y < out.length; b += 210, y += 256) {
      const d = halfToFloat(file[b + 208]! | (file[b + 209]! << 8));
      for (let i = 0; i < 256; i++) {
        const half = i >> 7;
        const chunk = (i >> 5) & 3;
        const l = i & 31;
        const nibbles = file[b + 64 * half + 32 * (chunk & 1) + l]!;
        const low = (nibbles >> (4 * (chunk >> 1))) & 15;
        const upper = (file[b + 128 + 32 * half + l]! >> (2 * chunk)) & 3;
        const scale = (file[b + 192 + (i >> 4)]! << 24) >> 24;
        out[y + i] = d * scale * ((low | (upper << 4)) - 32);
      }
    }
  },
  regroup(file, blocks, [quants, scales, pairs, superScales]) {
    const [f, q, h, p] = [words(file), words(quants!), words(scales!), words(pairs!)];
    const [s, each] = [words(superScales!), halves(file)];
    for (let i = 0, b = 0; i < blocks; i++, b += 105) {
      const [w, at] = alignedBlock(f, b, block);
      for (let half = 0; half < 2; half++) {
        const to = 32 * i + 16 * half;
        splitNibbles(w, at + 16 * half, q, to, to + 8);
        splitNibbles(w, at + 16 * half + 8, q, to + 4, to + 12);
        gatherPairs(w, at + 32 + 8 * half, p, 16 * i + 8 * half);
      }
      s[i] = each[b + 104]!;
      for (let j = 0; j < 4; j++) h[4 * i + j] = w[at + 48 + j]!;
    }
  },
};
