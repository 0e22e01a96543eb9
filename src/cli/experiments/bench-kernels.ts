// How fast is each kernel on this adapter, and does it compute what it should? Every kernel of the engine runs by itself,
// is compared with plain TypeScript, and timed beside what the adapter copies and multiplies at most.

import { InvalidArgumentError } from "commander";
import { UserError } from "../../errors.ts";
import { type Adapter, readAdapter } from "../../kernels/adapter/adapter.ts";
import { Device } from "../../kernels/gpu/device.ts";
import { KernelLibrary } from "../../kernels/gpu/kernel.ts";
import { ParamBlock } from "../../kernels/gpu/params.ts";
import { tuningOf } from "../../kernels/matrix/tuning.ts";
import { KERNELS, kernelCases, type Selection } from "../../laboratory/kernels/kernel-cases.ts";
import { measureAll, type Timing } from "../../laboratory/kernels/measure.ts";
import { measureRates, type Rates } from "../../laboratory/kernels/rates.ts";
import { hasClock } from "../../laboratory/kernels/time-kernel.ts";
import { Workbench } from "../../laboratory/kernels/workbench.ts";
import { machine } from "../../platform/machine.ts";
import { nodePlatform } from "../../platform/node.ts";
import { writeWholeFile } from "../../platform/write-file.ts";
import { toJson } from "../reports/json.ts";
import { table } from "../reports/table.ts";
import { Command } from "../terminal/command.ts";
import { integer, outputFile } from "../terminal/flags.ts";
import { interruptSignal, note, progress, write, writeJson } from "../terminal/terminal.ts";

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
  /** The shape of the subgroup matrices that multiply several tokens, M x N x K, if they do. */
  readonly matrices: string | null;
  readonly timings: readonly Timing[];
}

/** A matrix that takes a GPU long enough to be timed, and a software adapter not too long. */
const GPU_MATRIX = { n: 4096, k: 4096 };
const SOFTWARE_MATRIX = { n: 2048, k: 2048 };
export const SHAPE_HELP =
  "rows and columns of matrices; attention has none (default: by the adapter)";
const MAX_WEIGHTS = 2 ** 28;
const MAX_TOKENS = 4096;

/** `dawnstream bench kernels` */
export function benchKernelsCommand(): Command {
  return new Command("kernels")
    .description(
      "check every kernel and time it by itself, beside what the adapter copies and multiplies",
    )
    .example("dawnstream bench kernels --kernel matvec --format Q4_K")
    .option("--kernel <name>", `one of ${KERNELS.join(", ")} (default: all)`)
    .option("--format <name>", "a weight format, such as Q4_K (default: all)")
    .option("--shape <n,k>", SHAPE_HELP, readShape)
    .option("--tokens <t>", "tokens, where a kernel takes several", integer, 64)
    .option("--time <ms>", "how long each kernel is timed", integer, 200)
    .option("--json", "print one object")
    .option("--save <file>", "write that object to a file, too", outputFile)
    .action(async (flags: Flags) => {
      checkRange("--time", flags.time, 1, 60_000);
      checkSelection(flags);
      const signal = interruptSignal();
      const report = await withTunedDevice((opened) => run(opened, flags, signal));
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

/** Throws a `UserError` for kernels that there are not: a mistake costs no device. */
export function checkSelection(selection: Selection): void {
  checkRange("--tokens", selection.tokens, 1, MAX_TOKENS);
  kernelCases(selection, SOFTWARE_MATRIX);
}

/** A device on the adapter that the engine would take, with what was measured there. */
interface TunedDevice {
  readonly device: Device;
  readonly facts: Adapter;
  /** One line about the adapter. */
  readonly adapter: string;
  /** The matrix that kernels are tried with there. */
  readonly usual: { readonly n: number; readonly k: number };
}

/** Opens the device that the engine would, and closes it when `use` is done. */
export async function withTunedDevice<T>(use: (opened: TunedDevice) => Promise<T>): Promise<T> {
  const gpu = nodePlatform.openGpu();
  const adapter = await nodePlatform.requestAdapter(gpu);
  const { measurements, shaders } = nodePlatform;
  const open = (on: GPUAdapter) => Device.open(gpu, on, {}, nodePlatform.waitFor(on));
  const another = async () => open(await nodePlatform.requestAdapter(gpu));
  await using device = await open(adapter);
  const tuning = await tuningOf(device, measurements, another, shaders);
  const facts = readAdapter(device, tuning);
  const usual = facts.isSoftware ? SOFTWARE_MATRIX : GPU_MATRIX;
  return await use({ device, facts, adapter: nodePlatform.describeAdapter(adapter), usual });
}

async function run(
  { device, facts, adapter, usual }: TunedDevice,
  flags: Flags,
  signal: AbortSignal,
): Promise<Report> {
  const params = await ParamBlock.create(device, "params");
  const bench = new Workbench(facts, params, new KernelLibrary(device, nodePlatform.shaders));
  const cases = kernelCases(flags, usual);
  const bar = progress("timing", cases.length, "kernels");
  try {
    const before = await measureRates(bench, flags.time);
    const timings = await measureAll(bench, cases, flags.time, signal, (done) => bar.update(done));
    const rates = signal.aborted ? before : await measureRates(bench, flags.time, before);
    return {
      adapter,
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

/** The kernel, and the shader that it is on this adapter if that is another. */
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

export function readShape(text: string): Selection["shape"] {
  const [, n, k] = /^(\d+),(\d+)$/.exec(text)?.map(Number) ?? [];
  const fits = (count: number | undefined) => count !== undefined && count > 0 && count % 4 === 0;
  if (!fits(n) || !fits(k) || n! * k! > MAX_WEIGHTS) {
    throw new InvalidArgumentError(
      `Expected N,K: multiples of 4, such as 2048,768, of at most ${MAX_WEIGHTS} weights.`,
    );
  }
  return { n: n!, k: k! };
}

function checkRange(flag: string, value: number, least: number, most: number): void {
  if (value < least || value > most) {
    throw new UserError(`Invalid ${flag} ${value}: expected a number from ${least} to ${most}.`);
  }
}
