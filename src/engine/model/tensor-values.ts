// Tensors on the host: their format, and the numbers of small ones.

import type { WeightFormat } from "../../kernels/weights/formats/format.ts";
import { FORMATS } from "../../kernels/weights/formats/index.ts";
import type { GgufFile, TensorInfo } from "../gguf/gguf.ts";
import { UnsupportedError } from "./model-metadata.ts";

/** The numbers of a small tensor, decoded on the host. */
export async function readValues(file: GgufFile, tensor: TensorInfo): Promise<Float32Array> {
  const bytes = new Uint8Array(tensor.bytes);
  await tensor.source.read(tensor.offset, bytes);
  const values = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1));
  formatOf(file, tensor).decode(bytes, values);
  return values;
}

/** How a tensor is packed. Throws an `UnsupportedError` for a type that the kernels do not know. */
export function formatOf(file: GgufFile, { name, type }: TensorInfo): WeightFormat {
  const format = FORMATS.get(type);
  if (!format) {
    const supported = [...FORMATS.keys()].join(", ");
    throw new UnsupportedError(
      `${file.name}: tensor ${name} has the unsupported type ${type}; supported are ${supported}.`,
    );
  }
  return format;
}
