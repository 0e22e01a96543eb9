import { bfloatToFloat } from "../half.ts";
import { quantsPlane, type WeightFormat } from "./format.ts";

/** BF16: the upper half of an f32, two a word. */
export const BF16: WeightFormat = {
  name: "BF16",
  fragment: "weights/formats/bf16",
  blockWeights: 1,
  blockBytes: 2,
  scaleOffsets: [],
  planes: [quantsPlane(64)],
  decode(file, out) {
    for (let i = 0; i < out.length; i++) {
      out[i] = bfloatToFloat(file[2 * i]! | (file[2 * i + 1]! << 8));
    }
  },
  regroup(file, blocks, planes) {
    planes[0]!.set(file.subarray(0, 2 * blocks));
  },
};
