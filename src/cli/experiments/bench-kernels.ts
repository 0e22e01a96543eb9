// How fast is each kernel on this adapter, and does it compute what it should? Every kernel of the
// engine runs by itself, is compared with plain TypeScript, and timed beside what the adapter
// copies and multiplies at most.

import { InvalidArgumentError } from "commander";
import { UserError } from "../../errors.ts";
import {
  KERNELS,
  kernelCases,
  type Selection,
  SOFTWARE_MATRIX,
} from "../../laboratory/kernels/kernel-cases.ts";
import { type KernelReport, reportKernels } from "../../laboratory/kernels/kernel-report.ts";
import type { Timing } from "../../laboratory/kernels/measure.ts";
import { withTunedDevice } from "../../laboratory/kernels/tuned-device.ts";
import { machine } from "../../platform/machine.ts";
import { nodePlatform } from "../../platform/node.ts";
import { writeWholeFile } from "../../platform/write-file.ts";
import { toJson } from "../reports/json.ts";
import { table } from "../reports/table.ts";
import { Command } from "../terminal/command.ts";
import { integer, outputFile } from "../terminal/flags.ts";
import { interruptSignal, note, withProgress, write, writeJson } from "../terminal/terminal.ts";

interface Flags extends Selection {
  readonly time: number;
  readonly json?: boolean;
  readonly save?: string;
}

interface Report extends KernelReport {
  readonly adapter: string;
  readonly machine: string;
}

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
    .option("--tokens <t>", "tokens, if a kernel takes several", integer, 64)
    .option("--time <ms>", "how long each kernel is timed", integer, 200)
    .option("--json", "print one object")
    .option("--save <file>", "write that object to a file, too", outputFile)
    .action(async (flags: Flags) => {
      checkRange("--time", flags.time, 1, 60_000);
      checkSelection(flags);
      const signal = interruptSignal();
      const report: Report = await withTunedDevice(nodePlatform, async (opened) => {
        const measured = await withProgress("timing", "kernels", (onProgress) =>
          reportKernels(opened, nodePlatform.shaders, flags, flags.time, { onProgress, signal }),
        );
        return { adapter: opened.adapter, machine: machine(), ...measured };
      });
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
