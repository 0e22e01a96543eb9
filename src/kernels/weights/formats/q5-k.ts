import { halfToFloat } from "../half.ts";
import type { WeightFormat } from "./format.ts";
import { BITS, gatherBits, quantsPlane, scalesPlane, splitNibbles, words } from "./format.ts";
import { scaleAndMin } from "./q4-k.ts";

/**
 * Q5_K, 176 bytes for 256 weights: header as Q4_K, 32 bytes of fifth bits (bit c of byte l for
 * weight l of chunk c), nibbles as Q4_K. w = d scale q - dmin min.
 */
export const Q5_K: WeightFormat = {
  name: "Q5_K",
  fragment: "weights/formats/q5-k",
  blockWeights: 256,
  blockBytes: 176,
  scaleOffsets: [0, 2],
  planes: [quantsPlane(16), scalesPlane(16), BITS],
  decode(file, out) {
    for (let b = 0, y = 0; y < out.length; b += 176, y += 256) {
      const d = halfToFloat(file[b]! | (file[b + 1]! << 8));
      const dmin = halfToFloat(file[b + 2]! | (file[b + 3]! << 8));
      for (let chunk = 0; chunk < 8; chunk++) {
        const [scale, min] = scaleAndMin(file, b + 4, chunk);
        for (let l = 0; l < 32; l++) {
          const q = (file[b + 48 + 32 * (chunk >> 1) + l]! >> (4 * (chunk & 1))) & 15;
          const fifth = (file[b + 16 + l]! >> chunk) & 1;
          out[y + 32 * chunk + l] = d * scale * (q | (fifth << 4)) - dmin * min;
        }
      }
    }
  },
  regroup(file, blocks, [quants, scales, bits]) {
    const [f, q, h, fifths] = [words(file), words(quants!), words(scales!), words(bits!)];
    for (let i = 0, b = 0; i < blocks; i++, b += 44) {
      for (let j = 0; j < 4; j++) h[4 * i + j] = f[b + j]!;
      for (let chunk = 0; chunk < 8; chunk++) fifths[8 * i + chunk] = gatherBits(f, b + 4, chunk);
      for (let g = 0; g < 4; g++) {
        splitNibbles(f, b + 12 + 8 * g, q, 32 * i + 8 * g, 32 * i + 8 * g + 4);
      }
    }
  },
};
