import { halfToFloat } from "../half.ts";
import type { WeightFormat } from "./format.ts";
import { BITS, quantsPlane, scalesPlane, words } from "./format.ts";

/**
 * Q5_1, 24 bytes for 32 weights: f16 d, f16 m, a word of fifth bits, nibbles as Q4_0. w = d q + m.
 */
export const Q5_1: WeightFormat = {
  name: "Q5_1",
  fragment: "weights/formats/q5-1",
  blockWeights: 32,
  blockBytes: 24,
  scaleOffsets: [0, 2],
  planes: [quantsPlane(16), BITS, scalesPlane(32)],
  decode(file, out) {
    for (let b = 0, y = 0; y < out.length; b += 24, y += 32) {
      const d = halfToFloat(file[b]! | (file[b + 1]! << 8));
      const m = halfToFloat(file[b + 2]! | (file[b + 3]! << 8));
      for (let j = 0; j < 16; j++) {
        const byte = file[b + 8 + j]!;
        const low = (file[b + 4 + (j >> 3)]! >> (j & 7)) & 1;
        const high = (file[b + 6 + (j >> 3)]! >> (j & 7)) & 1;
        out[y + j] = d * ((byte & 15) | (low << 4)) + m;
        out[y + j + 16] = d * ((byte >> 4) | (high << 4)) + m;
      }
    }
  },
  regroup(file, blocks, [quants, bits, scales]) {
    const [f, q, fifths, h] = [words(file), words(quants!), words(bits!), words(scales!)];
    for (let i = 0, b = 0; i < blocks; i++, b += 6) {
      h[i] = f[b]!;
      fifths[i] = f[b + 1]!;
      for (let j = 0; j < 4; j++) q[4 * i + j] = f[b + 2 + j]!;
    }
  },
};
