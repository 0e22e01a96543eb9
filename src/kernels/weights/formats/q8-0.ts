import { halfToFloat } from "../half.ts";
import type { WeightFormat } from "./format.ts";
import { halves, quantsPlane, scalesPlane, words } from "./format.ts";

/** Q8_0, 34 bytes for 32 weights: f16 d, 32 signed bytes. w = d q. */
export const Q8_0: WeightFormat = {
  name: "Q8_0",
  fragment: "weights/formats/q8-0",
  blockWeights: 32,
  blockBytes: 34,
  scaleOffsets: [0],
  planes: [quantsPlane(32), scalesPlane(16)],
  decode(file, out) {
    for (let b = 0, y = 0; y < out.length; b += 34, y += 32) {
      const d = halfToFloat(file[b]! | (file[b + 1]! << 8));
      for (let j = 0; j < 32; j++) out[y + j] = d * ((file[b + 2 + j]! << 24) >> 24);
    }
  },
  regroup(file, blocks, [quants, scales]) {
    const [f, q, h] = [halves(file), words(quants!), halves(scales!)];
    for (let i = 0, b = 0; i < blocks; i++, b += 17) {
      h[i] = f[b]!;
      for (let j = 0; j < 8; j++) {
        q[8 * i + j] = f[b + 1 + 2 * j]! | (f[b + 2 + 2 * j]! << 16);
      }
    }
  },
};
