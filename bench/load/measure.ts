// One load, in a process of its own: what each part of it takes, and how much memory.

import { type GgufFile, openGguf } from "../../src/engine/gguf/gguf.ts";
import { readConfig } from "../../src/engine/model/config.ts";
import { allocateWeights, checkTensors, uploadAll } from "../../src/engine/model/weights.ts";
import { createTokenizer } from "../../src/engine/tokenizer/tokenizer.ts";
import { readAdapter } from "../../src/kernels/adapter/adapter.ts";
import { Device } from "../../src/kernels/gpu/device.ts";
import { project } from "../../src/kernels/matrix/products.ts";
import * as reference from "../../src/kernels/reference.ts";
import { rowBytes } from "../../src/kernels/weights/formats/format.ts";
import type { Weights } from "../../src/kernels/weights/tensor.ts";
import { decode, randomFloats } from "../../src/laboratory/kernels/random.ts";
import { Workbench } from "../../src/laboratory/kernels/workbench.ts";
import { nmse } from "../../src/numbers.ts";
import { describeAdapter, openGpu, requestAdapter } from "../../src/platform/dawn.ts";
import { openFile } from "../../src/platform/file.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { answer } from "../process.ts";

export interface LoadReply {
  readonly device: string;
  readonly fileBytes: number;
  readonly gpuBytes: number;
  /** Reading and checking the header. */
  readonly headerMs: number;
  /** Making the tokenizer: takes as long as the vocabulary is large, whatever the size of the model. */
  readonly tokenizerMs: number;
  /** Making the buffers. A software adapter's memory is touched for the first time here. */
  readonly allocateMs: number;
  /** Reading, regrouping and writing the weights, until the GPU has them all. */
  readonly uploadMs: number;
  /** Resident memory before the load, with the device open, and at most until its end. */
  readonly residentBefore: number;
  readonly residentPeak: number;
}

/** Rows that are decoded and multiplied at a time. */
const ROWS = 4096;
/** Of the squared difference to the square sum of what it should be: f32 sums against f64. */
const TOLERANCE = 1e-9;

await answer(async ({ model }: { model: string }): Promise<LoadReply> => {
  const gpu = openGpu();
  const adapter = await requestAdapter(gpu);
  await using device = await Device.open(gpu, adapter, {}, nodePlatform.waitFor(adapter));
  const residentBefore = process.memoryUsage.rss();

  const times = [performance.now()];
  const file = await openGguf(model, openFile);
  const config = readConfig(file);
  checkTensors(file, config);
  times.push(performance.now());
  createTokenizer(file.metadata);
  times.push(performance.now());
  const weights = await allocateWeights(device, file, config, readAdapter(device).placement);
  await device.done();
  times.push(performance.now());
  await uploadAll(device, file, weights);
  times.push(performance.now());
  const residentPeak = process.resourceUsage().maxRSS * 1024;

  const output = file.tensors.has("output.weight") ? "output.weight" : "token_embd.weight";
  await checkArrival(device, file, weights.output, output);
  await file.close();
  const [headerMs, tokenizerMs, allocateMs, uploadMs] = times
    .slice(1)
    .map((time, i) => time - times[i]!);
  return {
    device: describeAdapter(adapter),
    fileBytes: file.bytes,
    gpuBytes: weights.bytes,
    headerMs: headerMs!,
    tokenizerMs: tokenizerMs!,
    allocateMs: allocateMs!,
    uploadMs: uploadMs!,
    residentBefore,
    residentPeak,
  };
});

/** Throws unless the first tensor of a matrix multiplies as its blocks in the file do, row by row. */
async function checkArrival(
  device: Device,
  file: GgufFile,
  weights: Weights,
  name: string,
): Promise<void> {
  const { n, k, parts } = weights;
  const { source, offset, shape } = file.tensors.get(name)!;
  const bench = await Workbench.create(device, nodePlatform.shaders);
  const numbers = randomFloats(1, k);
  const [x, y] = [await bench.activations(1, k, numbers), await bench.activations(1, n)];
  await bench.run(project(bench.one, { x, weights, y }));
  const found = await bench.readActivations(y);
  const { format } = parts[0]!;
  for (let row = 0; row < shape[1]!; row += ROWS) {
    const rows = Math.min(ROWS, shape[1]! - row);
    const bytes = new Uint8Array(rows * rowBytes(format, k));
    await source.read(offset + row * rowBytes(format, k), bytes);
    const expected = reference.project(numbers, decode(format, bytes), 1, rows, k);
    if (!(nmse(found.subarray(row, row + rows), expected) <= TOLERANCE)) {
      throw new Error(`${name}: rows from ${row} on the GPU are not those of the file`);
    }
  }
}
