import { halfToFloat } from "../half.ts";
import type { WeightFormat } from "./format.ts";
import { Q4_0 } from "./q4-0.ts";

/** The sixteen values of the non-linear four-bit formats. */
export const IQ4_VALUES: readonly number[] = [
  -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/** IQ4_NL, 18 bytes for 32 weights: packed as Q4_0, but a nibble is an index. w = d VALUES[q]. */
export const IQ4_NL: WeightFormat = {
  ...Q4_0,
  name: "IQ4_NL",
  fragment: "weights/formats/iq4-nl",
  decode(file, out) {
    for (let b = 0, y = 0; y < out.length; b += 18, y += 32) {
      const d = halfToFloat(file[b]! | (file[b + 1]! << 8));
      for (let j = 0; j < 16; j++) {
        const byte = file[b + 2 + j]!;
        out[y + j] = d * IQ4_VALUES[byte & 15]!;
        out[y + j + 16] = d * IQ4_VALUES[byte >> 4]!;
      }
    }
  },
};
