import { halfToFloat } from "../half.ts";
import type { WeightFormat } from "./format.ts";
import { halves, quantsPlane, scalesPlane, words } from "./format.ts";

/**
 * Q4_0, 18 bytes for 32 weights: f16 d, 16 bytes of nibbles (byte j: weight j low, j + 16 high). w
 * = d (q - 8).
 */
export const Q4_0: WeightFormat = {
  name: "Q4_0",
  fragment: "weights/formats/q4-0",
  blockWeights: 32,
  blockBytes: 18,
  scaleOffsets: [0],
  planes: [quantsPlane(16), scalesPlane(16)],
  decode(file, out) {
    for (let b = 0, y = 0; y < out.length; b += 18, y += 32) {
      const d = halfToFloat(file[b]! | (file[b + 1]! << 8));
      for (let j = 0; j < 16; j++) {
        const byte = file[b + 2 + j]!;
        out[y + j] = d * ((byte & 15) - 8);
        out[y + j + 16] = d * ((byte >> 4) - 8);
      }
    }
  },
  regroup(file, blocks, [quants, scales]) {
    const [f, q, h] = [halves(file), words(quants!), halves(scales!)];
    for (let i = 0, b = 0; i < blocks; i++, b += 9) {
      h[i] = f[b]!;
      for (let j = 0; j < 4; j++) {
        q[4 * i + j] = f[b + 1 + 2 * j]! | (f[b + 2 + 2 * j]! << 16);
      }
    }
  },
};
