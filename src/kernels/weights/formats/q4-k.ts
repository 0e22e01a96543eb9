import { halfToFloat } from "../half.ts";
import type { WeightFormat } from "./format.ts";
import { quantsPlane, scalesPlane, splitNibbles, words } from "./format.ts";

/**
 * The 6-bit scale and min of sub-block `j` (0..7) of a Q4_K or Q5_K block, whose twelve packed
 * bytes begin at `at`: the first four of each lie whole in bytes 0..7, the last four are put
 * together from bytes 8..11 and the spare bits.
 */
export function scaleAndMin(file: Uint8Array, at: number, j: number): [number, number] {
  if (j < 4) return [file[at + j]! & 63, file[at + j + 4]! & 63];
  const low = file[at + j + 4]!;
  return [(low & 15) | ((file[at + j - 4]! >> 6) << 4), (low >> 4) | ((file[at + j]! >> 6) << 4)];
}

/**
 * Q4_K, 144 bytes for 256 weights: f16 d, f16 dmin, 12 bytes of 6-bit scales and mins for the 8
 * chunks, 128 bytes of nibbles (32 bytes hold chunk 2g low and chunk 2g + 1 high). w = d scale q -
 * dmin min.
 */
export const Q4_K: WeightFormat = {
  name: "Q4_K",
  fragment: "weights/formats/q4-k",
  blockWeights: 256,
  blockBytes: 144,
  scaleOffsets: [0, 2],
  planes: [quantsPlane(16), scalesPlane(16)],
  decode(file, out) {
    for (let b = 0, y = 0; y < out.length; b += 144, y += 256) {
      const d = halfToFloat(file[b]! | (file[b + 1]! << 8));
      const dmin = halfToFloat(file[b + 2]! | (file[b + 3]! << 8));
      for (let chunk = 0; chunk < 8; chunk++) {
        const [scale, min] = scaleAndMin(file, b + 4, chunk);
        for (let l = 0; l < 32; l++) {
          const q = (file[b + 16 + 32 * (chunk >> 1) + l]! >> (4 * (chunk & 1))) & 15;
          out[y + 32 * chunk + l] = d * scale * q - dmin * min;
        }
      }
    }
  },
  regroup(file, blocks, [quants, scales]) {
    const [f, q, h] = [words(file), words(quants!), words(scales!)];
    for (let i = 0, b = 0; i < blocks; i++, b += 36) {
      for (let j = 0; j < 4; j++) h[4 * i + j] = f[b + j]!;
      for (let g = 0; g < 4; g++) {
        splitNibbles(f, b + 4 + 8 * g, q, 32 * i + 8 * g, 32 * i + 8 * g + 4);
      }
    }
  },
};
