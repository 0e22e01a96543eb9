// One load, in a process of its own: what each part of it takes, and how much memory.

import { readConfig } from "../../src/engine/config.ts";
import { type GgufFile, openGguf } from "../../src/engine/gguf/gguf.ts";
import { createTokenizer } from "../../src/engine/tokenizer/tokenizer.ts";
import { allocateWeights, checkTensors, uploadAll } from "../../src/engine/weights.ts";
import { Device } from "../../src/kernels/device.ts";
import { rowBytes } from "../../src/kernels/formats/format.ts";
import type { Weights } from "../../src/kernels/tensor.ts";
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
  const weights = await allocateWeights(device, file, config);
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

/** Throws unless the first tensor of a matrix is on the GPU bit by bit as its blocks, regrouped all at once, say. */
async function checkArrival(
  device: Device,
  file: GgufFile,
  { k, parts }: Weights,
  name: string,
): Promise<void> {
  const { source, offset, shape } = file.tensors.get(name)!;
  for (const { format, firstRow, rows, bindings } of parts) {
    const own = Math.min(rows, shape[1]! - firstRow);
    if (own <= 0) break;
    const blocks = (own * k) / format.blockWeights;
    const bytes = new Uint8Array(own * rowBytes(format, k));
    await source.read(offset + firstRow * rowBytes(format, k), bytes);
    const planes = format.planes.map(
      ({ blockBytes }) => new Uint16Array((blocks * blockBytes) / 2),
    );
    format.regroup(new Uint16Array(bytes.buffer), blocks, planes);
    for (const [i, { name: plane }] of format.planes.entries()) {
      const { buffer, offset } = bindings[plane]!;
      const arrived = await device.read(buffer, offset, planes[i]!.byteLength);
      if (Buffer.compare(Buffer.from(arrived), Buffer.from(planes[i]!.buffer)) !== 0) {
        throw new Error(`${name}: the ${plane} on the GPU are not those of the file`);
      }
    }
  }
}
