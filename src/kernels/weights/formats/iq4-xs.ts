import { halfToFloat } from "../half.ts";
import type { WeightFormat } from "./format.ts";
import { quantsPlane, words } from "./format.ts";
import { IQ4_VALUES } from "./iq4-nl.ts";

/**
 * IQ4_XS, 136 bytes for 256 weights: f16 d, 16 bits of upper scale bits (two a chunk), 4 bytes of
 * lower scale nibbles, then 16 bytes a chunk as in IQ4_NL. w = d (scale - 32) VALUES[q].
 */
export const IQ4_XS: WeightFormat = {
  name: "IQ4_XS",
  fragment: "weights/formats/iq4-xs",
  blockWeights: 256,
  blockBytes: 136,
  scaleOffsets: [0],
  planes: [quantsPlane(16), { name: "scales", unit: "super-block", bytes: 8 }],
  decode(file, out) {
    for (let b = 0, y = 0; y < out.length; b += 136, y += 256) {
      const d = halfToFloat(file[b]! | (file[b + 1]! << 8));
      const upper = file[b + 2]! | (file[b + 3]! << 8);
      for (let chunk = 0; chunk < 8; chunk++) {
        const low = (file[b + 4 + (chunk >> 1)]! >> (4 * (chunk & 1))) & 15;
        const scale = d * ((low | (((upper >> (2 * chunk)) & 3) << 4)) - 32);
        for (let j = 0; j < 16; j++) {
          const byte = file[b + 8 + 16 * chunk + j]!;
          out[y + 32 * chunk + j] = scale * IQ4_VALUES[byte & 15]!;
          out[y + 32 * chunk + 16 + j] = scale * IQ4_VALUES[byte >> 4]!;
        }
      }
    }
  },
  regroup(file, blocks, [quants, scales]) {
    const [f, q, h] = [words(file), words(quants!), words(scales!)];
    for (let i = 0, b = 0; i < blocks; i++, b += 34) {
      h[2 * i] = f[b]!;
      h[2 * i + 1] = f[b + 1]!;
      for (let j = 0; j < 32; j++) q[32 * i + j] = f[b + 2 + j]!;
    }
  },
};
