// How fast does a model come from a warm file onto the GPU, and how much host memory does that take? Each load is a
// process of its own; a tensor is read back and compared with the file before a time counts.
//
// The memory of a software adapter is the process's own: what the weights take there is told apart.

import { createReadStream } from "node:fs";
import { parseArgs } from "node:util";
import { median } from "../src/numbers.ts";
import type { LoadReply } from "./load/measure.ts";
import { ask } from "./process.ts";
import { benchModel, shapeNamed } from "./random-model.ts";
import { machine, percent, printTable, save, spread, wholeNumber } from "./report.ts";

const MB = 1e6;

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      shape: { type: "string", default: "134m" },
      model: { type: "string" },
      rounds: { type: "string", default: "7" },
      json: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
    },
  });
  const shape = shapeNamed(values.shape);
  const rounds = wholeNumber("--rounds", values.rounds, 1, 1000);
  const model = values.model ?? (await benchModel(shape));
  for await (const _ of createReadStream(model, { highWaterMark: 1 << 20 })); // warm
  const loads: LoadReply[] = [];
  for (let i = 0; i < rounds; i++) {
    loads.push(await ask<LoadReply>("load/measure.ts", { model }));
  }

  const { device, fileBytes, gpuBytes } = loads[0]!;
  const part = (name: string, ms: (load: LoadReply) => number) => {
    const times = loads.map(ms);
    const rate = fileBytes / MB / (median(times) / 1000);
    return { part: name, ms: median(times), spread: spread(times), megabytesPerSecond: rate };
  };
  const parts = [
    part("header", (load) => load.headerMs),
    part("tokenizer", (load) => load.tokenizerMs),
    part("allocation", (load) => load.allocateMs),
    part("upload", (load) => load.uploadMs),
    part("weights: allocation and upload", (load) => load.allocateMs + load.uploadMs),
    part("all of it", (load) => load.headerMs + load.tokenizerMs + load.allocateMs + load.uploadMs),
  ];
  const grown = median(loads.map((load) => load.residentPeak - load.residentBefore));
  const memory = {
    peakBytes: median(loads.map((load) => load.residentPeak)),
    grownBytes: grown,
    /** What is left of the growth where the GPU's memory is the host's. */
    grownBesideWeightsBytes: Math.max(0, grown - gpuBytes),
  };
  const result = {
    question: "load",
    model: values.shape,
    machine: machine(),
    device,
    fileBytes,
    gpuBytes,
    rounds: loads.length,
    parts,
    memory,
  };
  if (values.save) await save(`load-${values.shape}`, result);
  if (values.json) return void console.log(JSON.stringify(result, null, 2));
  const size = (bytes: number) => `${(bytes / MB).toFixed(1)} MB`;
  console.log(`Loading ${size(fileBytes)} from a warm file, ${loads.length} times, ${machine()}`);
  console.log(`  ${device}`);
  printTable(
    ["part", "ms", "spread", "MB/s"],
    parts.map(({ part, ms, spread, megabytesPerSecond }) => [
      part,
      ms.toFixed(1),
      percent(spread),
      megabytesPerSecond.toFixed(0),
    ]),
  );
  console.log(
    `Resident memory at most ${size(memory.peakBytes)}: ${size(grown)} more than before the load, ` +
      `${size(gpuBytes)} of it weights where the adapter is software.`,
  );
}
