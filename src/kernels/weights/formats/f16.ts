import { halfToFloat } from "../half.ts";
import { quantsPlane, type WeightFormat } from "./format.ts";

/** F16: IEEE binary16, two a word. */
export const F16: WeightFormat = {
  name: "F16",
  fragment: "weights/formats/f16",
  blockWeights: 1,
  blockBytes: 2,
  scaleOffsets: [],
  planes: [quantsPlane(64)],
  decode(file, out) {
    for (let i = 0; i < out.length; i++) {
      out[i] = halfToFloat(file[2 * i]! | (file[2 * i + 1]! << 8));
    }
  },
  regroup(file, blocks, planes) {
    planes[0]!.set(file.subarray(0, 2 * blocks));
  },
};
