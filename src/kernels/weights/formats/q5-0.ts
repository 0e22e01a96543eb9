import { halfToFloat } from "../half.ts";
import type { WeightFormat } from "./format.ts";
import { BITS, halves, quantsPlane, scalesPlane, words } from "./format.ts";

/**
 * Q5_0, 22 bytes for 32 weights: f16 d, a word of fifth bits (bit l for weight l), nibbles as Q4_0.
 * w = d (q - 16).
 */
export const Q5_0: WeightFormat = {
  name: "Q5_0",
  fragment: "weights/formats/q5-0",
  blockWeights: 32,
  blockBytes: 22,
  scaleOffsets: [0],
  planes: [quantsPlane(16), BITS, scalesPlane(16)],
  decode(file, out) {
    for (let b = 0, y = 0; y < out.length; b += 22, y += 32) {
      const d = halfToFloat(file[b]! | (file[b + 1]! << 8));
      for (let j = 0; j < 16; j++) {
        const byte = file[b + 6 + j]!;
        const low = (file[b + 2 + (j >> 3)]! >> (j & 7)) & 1;
        const high = (file[b + 4 + (j >> 3)]! >> (j & 7)) & 1;
        out[y + j] = d * (((byte & 15) | (low << 4)) - 16);
        out[y + j + 16] = d * (((byte >> 4) | (high << 4)) - 16);
      }
    }
  },
  regroup(file, blocks, [quants, bits, scales]) {
    const [f, q, fifths, h] = [halves(file), words(quants!), words(bits!), halves(scales!)];
    for (let i = 0, b = 0; i < blocks; i++, b += 11) {
      h[i] = f[b]!;
      fifths[i] = f[b + 1]! | (f[b + 2]! << 16);
      for (let j = 0; j < 4; j++) {
        q[4 * i + j] = f[b + 3 + 2 * j]! | (f[b + 4 + 2 * j]! << 16);
      }
    }
  },
};
