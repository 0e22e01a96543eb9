// How fast is each kernel on this adapter, and does it compute what it should? Every kernel of the engine runs by itself,
// is compared with plain TypeScript, and timed beside what the adapter copies and multiplies at most.

import { InvalidArgumentError } from "commander";
import { UserError } from "../errors.ts";
import { Device } from "../kernels/gpu/device.ts";
import { tuningOf } from "../kernels/matrix/tuning.ts";
import { KERNELS, kernelCases, type Selection } from "../laboratory/kernels/kernel-cases.ts";
import { measureAll, type Timing } from "../laboratory/kernels/measure.ts";
import { measureRates, type Rates } from "../laboratory/kernels/rates.ts";
import { hasClock } from "../laboratory/kernels/time-kernel.ts";
import { Workbench } from "../laboratory/kernels/workbench.ts";
import { machine } from "../platform/machine.ts";
import { nodePlatform } from "../platform/node.ts";
import { writeWholeFile } from "../platform/write-file.ts";
import { Command } from "./command.ts";
import { integer, outputFile } from "./flags.ts";
import { toJson } from "./json.ts";
import { table } from "./table.ts";
import { interruptSignal, note, progress, write, writeJson } from "./terminal.ts";

interface Flags extends Selection {
  readonly time: number;
  readonly json?: boolean;
  readonly save?: string;
}

interface Report extends Rates {
  readonly adapter: string;
  readonly machine: string;
  /** Whose clock the times are by. */
  readonly clock: "gpu" | "host";
  /** By how many workgroups a product of one vector is shared, as was measured when this adapter was met first. */
  readonly workgroups: number;
  /** The shape of the subgroup matrices that multiply several tokens, M x N x K, where they do. */
  readonly matrices: string | null;
  readonly timings: readonly Timing[];
}

/** A matrix that takes a GPU long enough to be timed, and a software adapter not too long. */
const GPU_MATRIX = { n: 4096, k: 4096 };
const SOFTWARE_MATRIX = { n: 2048, k: 2048 };
const MOST_WEIGHTS = 2 ** 28;
const MOST_TOKENS = 4096;

/** `dawnstream bench kernels` */
export function benchKernelsCommand(): Command {
  return new Command("kernels")
    .description(
      "check every kernel and time it by itself, beside what the adapter copies and multiplies",
    )
    .example("dawnstream bench kernels --kernel matvec --format Q4_K")
    .option("--kernel <name>", `one of ${KERNELS.join(", ")} (default: all)`)
    .option("--format <name>", "a weight format, such as Q4_K (default: all)")
    .option(
      "--shape <n,k>",
      "rows and columns of matrices; attention has none (default: by the adapter)",
      readShape,
    )
    .option("--tokens <t>", "tokens, where a kernel takes several", integer, 64)
    .option("--time <ms>", "how long each kernel is timed", integer, 200)
    .option("--json", "print one object")
    .option("--save <file>", "write that object to a file, too", outputFile)
    .action(async (flags: Flags) => {
      checkRange("--tokens", flags.tokens, 1, MOST_TOKENS);
      checkRange("--time", flags.time, 1, 60_000);
      kernelCases(flags, SOFTWARE_MATRIX); // a mistake costs no device
      const signal = interruptSignal();
      const report = await run(flags, signal);
      if (flags.save !== undefined) {
        await writeWholeFile(flags.save, `${toJson(report, 2)}\n`);
      }
      if (flags.json) await writeJson(report);
      else await write(tableOf(report));
      const wrong = report.timings.filter((timing) => timing.wrong !== null);
      for (const { kernel, format, shape, wrong: why } of wrong) {
        note(`error: ${kernel} ${format} ${shape} is wrong: ${why}.`);
      }
      if (wrong.length > 0) process.exitCode = 1;
      else if (signal.aborted) process.exitCode = 130; // as a shell reports Ctrl-C
    });
}

async function run(flags: Flags, signal: AbortSignal): Promise<Report> {
  const gpu = nodePlatform.openGpu();
  const adapter = await nodePlatform.requestAdapter(gpu);
  const { memory, shaders } = nodePlatform;
  const open = (on: GPUAdapter) => Device.open(gpu, on, {}, nodePlatform.waitFor(on));
  const another = async () => open(await nodePlatform.requestAdapter(gpu));
  await using device = await open(adapter);
  const tuning = await tuningOf(device, memory, another, shaders);
  const bench = await Workbench.create(device, shaders, tuning);
  const usual = bench.adapter.isSoftware ? SOFTWARE_MATRIX : GPU_MATRIX;
  const cases = kernelCases(flags, usual);
  const bar = progress("timing", cases.length, "kernels");
  try {
    const before = await measureRates(bench, flags.time);
    const timings = await measureAll(bench, cases, flags.time, signal, (done) => bar.update(done));
    const rates = signal.aborted ? before : await measureRates(bench, flags.time, before);
    return {
      adapter: nodePlatform.describeAdapter(adapter),
      machine: machine(),
      clock: hasClock(device) ? "gpu" : "host",
      workgroups: bench.adapter.workgroups,
      matrices: bench.adapter.matrixShape ?? null,
      ...rates,
      timings,
    };
  } finally {
    bar.stop();
  }
}

function tableOf(report: Report): string {
  const { copyGigabytesPerSecond: copy, multiplyGigaPerSecond: multiply } = report;
  const head = ["kernel", "format", "shape", "max error", "µs", "±", "GB/s", "of copy"];
  const rows = report.timings.map((timing) => [
    nameOf(timing),
    timing.format,
    timing.shape,
    errorOf(timing),
    timing.us === null ? "WRONG" : digits(timing.us),
    percent(timing.spread),
    digits(timing.gigabytesPerSecond),
    percent(share(timing.gigabytesPerSecond, copy)),
    digits(timing.multiplyGigaPerSecond),
    percent(share(timing.multiplyGigaPerSecond, multiply)),
  ]);
  return [
    report.adapter,
    `copies ${digits(copy)} GB/s (read and written), multiplies ${digits(multiply)} GMAC/s; ` +
      `timed by the clock of the ${report.clock === "gpu" ? "GPU" : "host"}; matvec by ${report.workgroups} workgroups` +
      (report.matrices ? `, matmul by subgroup matrices of ${report.matrices}` : ""),
    "",
    table([...head, "GMAC/s", "of multiply"], rows),
  ].join("\n");
}

/** The kernel, and the shader that it is on this adapter where that is another. */
function nameOf({ kernel, shader }: Timing): string {
  const shaders = shader.split(" + ").map((name) => name.split(".")[0]!);
  const others = shaders.filter((name) => !kernel.startsWith(name));
  return others.length === 0 ? kernel : `${kernel} (${others.join(", ")})`;
}

function errorOf({ maxError }: Timing): string {
  if (maxError === null) return "NaN";
  return maxError === 0 ? "0" : maxError.toExponential(1);
}

function share(rate: number | null, most: number): number | null {
  return rate === null ? null : rate / most;
}

function percent(part: number | null): string {
  return part === null ? "-" : `${(100 * part).toFixed(part < 0.1 ? 1 : 0)} %`;
}

/** Three digits, or all in front of the point. */
function digits(value: number | null): string {
  if (value === null) return "-";
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}

function readShape(text: string): Selection["shape"] {
  const [, n, k] = /^(\d+),(\d+)$/.exec(text)?.map(Number) ?? [];
  const fits = (count: number | undefined) => count !== undefined && count > 0 && count % 4 === 0;
  if (!fits(n) || !fits(k) || n! * k! > MOST_WEIGHTS) {
    throw new InvalidArgumentError(
      `Expected N,K: multiples of 4, such as 2048,768, of at most ${MOST_WEIGHTS} weights.`,
    );
  }
  return { n: n!, k: k! };
}

function checkRange(flag: string, value: number, least: number, most: number): void {
  if (value < least || value > most) {
    throw new UserError(`Invalid ${flag} ${value}: expected a number from ${least} to ${most}.`);
  }
}
