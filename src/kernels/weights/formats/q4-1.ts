import { halfToFloat } from "../half.ts";
import type { WeightFormat } from "./format.ts";
import { quantsPlane, scalesPlane, words } from "./format.ts";

/** Q4_1, 20 bytes for 32 weights: f16 d, f16 m, nibbles as Q4_0. w = d q + m. */
export const Q4_1: WeightFormat = {
  name: "Q4_1",
  fragment: "weights/formats/q4-1",
  blockWeights: 32,
  blockBytes: 20,
  scaleOffsets: [0, 2],
  planes: [quantsPlane(16), scalesPlane(32)],
  decode(file, out) {
    for (let b = 0, y = 0; y < out.length; b += 20, y += 32) {
      const d = halfToFloat(file[b]! | (file[b + 1]! << 8));
      const m = halfToFloat(file[b + 2]! | (file[b + 3]! << 8));
      for (let j = 0; j < 16; j++) {
        const byte = file[b + 4 + j]!;
        out[y + j] = d * (byte & 15) + m;
        out[y + j + 16] = d * (byte >> 4) + m;
      }
    }
  },
  regroup(file, blocks, [quants, scales]) {
    const [f, q, h] = [words(file), words(quants!), words(scales!)];
    for (let i = 0, b = 0; i < blocks; i++, b += 5) {
      h[i] = f[b]!;
      for (let j = 0; j < 4; j++) q[4 * i + j] = f[b + 1 + j]!;
    }
  },
};
