import { halfToFloat } from "../half.ts";
import type { WeightFormat } from "./format.ts";
import { gatherPairs, PAIRS, SUPER_SCALES, scalesPlane, words } from "./format.ts";

/**
 * Q2_K, 84 bytes for 256 weights: 16 bytes of 4-bit scales and mins, one a group of 16 weights; 64
 * bytes of two-bit quants; f16 d, f16 dmin. Chunk c = 4n + s has its bits at 2s of bytes 32n .. 32n
 * + 31. w = d scale q - dmin min.
 */
export const Q2_K: WeightFormat = {
  name: "Q2_K",
  fragment: "weights/formats/q2-k",
  blockWeights: 256,
  blockBytes: 84,
  scaleOffsets: [80, 82],
  planes: [PAIRS, scalesPlane(16), SUPER_SCALES],
  decode(file, out) {
    for (let b = 0, y = 0; y < out.length; b += 84, y += 256) {
      const d = halfToFloat(file[b + 80]! | (file[b + 81]! << 8));
      const dmin = halfToFloat(file[b + 82]! | (file[b + 83]! << 8));
      for (let i = 0; i < 256; i++) {
        const chunk = i >> 5;
        const scale = file[b + (i >> 4)]!;
        const q = (file[b + 16 + 32 * (chunk >> 2) + (i & 31)]! >> (2 * (chunk & 3))) & 3;
        out[y + i] = d * (scale & 15) * q - dmin * (scale >> 4);
      }
    }
  },
  regroup(file, blocks, [pairs, scales, superScales]) {
    const [f, q, h, s] = [words(file), words(pairs!), words(scales!), words(superScales!)];
    for (let i = 0, b = 0; i < blocks; i++, b += 21) {
      s[i] = f[b + 20]!;
      for (let j = 0; j < 4; j++) h[4 * i + j] = f[b + j]!;
      for (let half = 0; half < 2; half++) {
        gatherPairs(f, b + 4 + 8 * half, q, 16 * i + 8 * half);
      }
    }
  },
};
