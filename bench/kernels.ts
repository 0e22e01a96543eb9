// How long does each kernel take by itself, and how many bytes of weights (or of keys and values, or of activations)
// does it get through in a second? tinybench times submit and completion of some dispatches in one pass; uploading
// and compiling are done before. A kernel that does not compute what reference.ts does gets no time.

import { parseArgs } from "node:util";
import { Bench } from "tinybench";
import { ParamBlock } from "../src/kernels/params.ts";
import { run } from "../src/kernels/recorder.ts";
import { openDevice, TestGpu } from "../test/support/gpu.ts";
import { type KernelCase, kernelCases, type PreparedCase } from "./kernels/cases.ts";
import { machine, percent, printTable, save } from "./report.ts";

/** A submit is made to take so long: it costs about 0.1 ms itself, and its completion is polled for. */
const SUBMIT_MS = 25;
/** Of the squared difference of what a kernel computes to the square sum of what it should. */
const TOLERANCE = 1e-9;

interface Timing {
  readonly kernel: string;
  readonly format: string;
  readonly shape: string;
  readonly us: number;
  readonly spread: number;
  readonly gigabytesPerSecond: number;
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      kernel: { type: "string" },
      format: { type: "string" },
      time: { type: "string", default: "300" },
      json: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
    },
  });
  const cases = kernelCases().filter(
    ({ kernel, format }) =>
      (values.kernel ?? kernel) === kernel && (values.format ?? format) === format,
  );
  if (cases.length === 0) throw new Error("no kernel of that name takes that format");
  const device = await openDevice();
  const gpu = new TestGpu(device, await ParamBlock.create(device, "params"));
  const adapter = [device.info.device, device.info.description].join(", ");
  const timings: Timing[] = [];
  for (const one of cases) {
    console.error(`${one.kernel} ${one.format} ${one.shape}`);
    const prepared = await one.prepare(gpu);
    await check(gpu, one, prepared);
    timings.push(await time(gpu, one, prepared, Number(values.time)));
    prepared.release();
  }
  device.check();
  await device.close();

  const result = { question: "kernels", machine: machine(), device: adapter, timings };
  if (values.save) save("kernels", result);
  if (values.json) return void console.log(JSON.stringify(result, null, 2));
  console.log(`Kernels, checked, on ${result.machine}\n  ${adapter}`);
  printTable(
    ["kernel", "format", "shape", "µs", "spread", "GB/s"],
    timings.map(({ kernel, format, shape, us, spread, gigabytesPerSecond }) => [
      kernel,
      format,
      shape,
      us.toFixed(us < 100 ? 1 : 0),
      percent(spread),
      gigabytesPerSecond.toFixed(2),
    ]),
  );
}

/** Runs it once and throws unless it computes what it should. */
async function check(gpu: TestGpu, { kernel, format, shape }: KernelCase, prepared: PreparedCase) {
  await gpu.run(prepared.dispatches, prepared.step);
  const result = await prepared.result();
  const expected = prepared.expected();
  let difference = 0;
  let total = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (result[i]! - expected[i]!) ** 2;
    total += expected[i]! ** 2;
  }
  // Written so that NaN fails, too.
  if (result.length === expected.length && difference / total <= TOLERANCE) return;
  throw new Error(`${kernel} ${format} ${shape} is wrong: NMSE ${difference / total}`);
}

async function time(
  gpu: TestGpu,
  { kernel, format, shape, bytes }: KernelCase,
  { dispatches, step }: PreparedCase,
  ms: number,
): Promise<Timing> {
  const submit = async (repeats: number) => {
    run(gpu.device, Array.from({ length: repeats }, () => dispatches).flat(), step);
    await gpu.device.done();
  };
  await submit(4);
  const began = performance.now();
  await submit(4);
  const repeats = Math.max(4, Math.ceil((4 * SUBMIT_MS) / (performance.now() - began)));
  const bench = new Bench({ time: ms, warmupTime: ms / 6, iterations: 5, warmupIterations: 2 });
  bench.add(kernel, () => submit(repeats));
  await bench.run();
  const { result } = bench.tasks[0]!;
  if (result.state !== "completed")
    throw new Error(`${kernel} ${format} ${shape}: ${result.state}`);
  const { p50, mad } = result.latency;
  const us = (1000 * p50) / repeats;
  return { kernel, format, shape, us, spread: mad / p50, gigabytesPerSecond: bytes / us / 1000 };
}
