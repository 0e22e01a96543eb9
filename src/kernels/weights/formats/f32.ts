import { quantsPlane, type WeightFormat } from "./format.ts";

/** F32: 4 bytes a weight, as they are. */
export const F32: WeightFormat = {
  name: "F32",
  fragment: "weights/formats/f32",
  blockWeights: 1,
  blockBytes: 4,
  scaleOffsets: [],
  planes: [quantsPlane(128)],
  decode(file, out) {
    const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
    for (let i = 0; i < out.length; i++) out[i] = view.getFloat32(4 * i, true);
  },
  regroup(file, blocks, planes) {
    planes[0]!.set(file.subarray(0, 4 * blocks));
  },
};
