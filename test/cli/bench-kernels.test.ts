// `dawnstream bench kernels`: checked times as a table and as JSON; one line for a mistake; status 1 for a wrong kernel.

import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Timing } from "../../src/laboratory/kernels/measure.ts";
import { ROOT } from "../support/build.ts";
import { dawnstream, fail, json, succeed, temporaryFolder } from "../support/cli.ts";

interface Report {
  readonly adapter: string;
  readonly copyGigabytesPerSecond: number;
  readonly multiplyGigaPerSecond: number;
  readonly timings: readonly Timing[];
}

const command = ["bench", "kernels", "--time", "20"];
const folder = temporaryFolder();

test("a kernel, a format and a shape: one object, and the same in a file", async () => {
  const file = join(folder, "kernels.json");
  const asked = ["--kernel", "matvec", "--format", "q4_k", "--shape", "256,256"];
  const report = await json<Report>([...command, ...asked, "--json", "--save", file]);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(report);
  expect(report.adapter).not.toBe("");
  expect(report.copyGigabytesPerSecond).toBeGreaterThan(0);
  expect(report.multiplyGigaPerSecond).toBeGreaterThan(0);
  expect(report.timings.length).toBe(1);
  const [timing] = report.timings;
  expect(timing).toMatchObject({ kernel: "matvec", format: "Q4_K", shape: "[256, 256]" });
  expect(timing!.shader).toMatch(/^matvec(-cpu)?\.q4-k\./);
  expect(timing!.wrong).toBe(null);
  expect(timing!.maxError).toBeGreaterThan(0); // f32 rounds, the reference does not
  expect(timing!.maxError).toBeLessThan(1e-4);
  expect(timing!.us).toBeGreaterThan(0);
  // 144 bytes for 256 weights, the vector and the result; a multiply-add for every weight.
  const bytes = 256 * 144 + 2 * 256 * 4;
  expect(timing!.gigabytesPerSecond).toBeCloseTo(bytes / timing!.us! / 1000, 9);
  expect(timing!.multiplyGigaPerSecond).toBeCloseTo(256 ** 2 / timing!.us! / 1000, 9);
});

test.each(["rope-store", "attention", "attention-weights"])(
  "%s: every kv type is right",
  async (kernel) => {
    const asked = ["--kernel", kernel, "--tokens", "3", "--json"];
    const { timings } = await json<Report>(["bench", "kernels", "--time", "1", ...asked]);
    expect([...new Set(timings.map(({ format }) => format))]).toEqual([
      "f32",
      "f16",
      "q8_0",
      "q4_0",
    ]);
    for (const { wrong, format, shape } of timings) expect(wrong, `${format} ${shape}`).toBe(null);
  },
);

test("a table: what makes no sense is left out", async () => {
  const { text } = await succeed([...command, "--kernel", "rms-norm", "--tokens", "3"]);
  expect(text).toMatch(/^copies [\d.]+ GB\/s .*, multiplies [\d.]+ GMAC\/s/m);
  expect(text).toMatch(/^rms-norm +F32 +\[3, \d+\] +\d\.\de-\d +[\d.]+ .*% +- +-$/m);
});

test.each([
  [["--kernel", "matvex"], /no kernel "matvex": expected matvec, .*attention-weights/],
  [["--kernel", "toString"], /no kernel "toString"/],
  [["--format", "Q4_X"], /format "Q4_X": expected F32, .*IQ4_XS/],
  [
    ["--kernel", "attention", "--format", "Q4_K"],
    /attention takes no .*"Q4_K": expected f32, f16, q8_0, q4_0/,
  ],
  [["--kernel", "rms-norm", "--format", "f16"], /rms-norm takes no .*"f16": expected F32/],
  [["--kernel", "attention", "--shape", "256,256"], /attention takes no --shape: .* matvec, /],
  [["--format", "Q4_K", "--shape", "256,128"], /with Q4_K, K must be a multiple of 256/],
  [["--shape", "256"], /'--shape <n,k>' argument '256' is invalid. Expected N,K/],
  [["--shape", "256,3"], /multiples of 4/],
  [["--shape", "0,256"], /multiples of 4/],
  [["--shape", "65536,65536"], /at most 268435456 weights/],
  [["--tokens", "0"], /--tokens 0: expected a number from 1/],
  [["--time", "0"], /--time 0: expected a number from 1/],
  [["--save", "/no/such/folder/a.json"], /no such folder/],
])("%j is refused in one line", async (args, message) => {
  await fail(["bench", "kernels", ...args], message);
});

test("a kernel that computes something else is told, gets no time, and makes status 1", async () => {
  const copy = join(folder, "broken");
  for (const part of ["dist", "package.json"]) {
    cpSync(join(ROOT, part), join(copy, part), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  const shader = join(copy, "dist/kernels/rows/silu.wgsl");
  const text = readFileSync(shader, "utf8");
  writeFileSync(shader, text.replace("(1.0 + exp", "(1.1 + exp"));
  expect(readFileSync(shader, "utf8")).not.toBe(text);
  const main = join(copy, "dist/cli/main.js");
  const run = await dawnstream([...command, "--kernel", "swiglu", "--tokens", "1"], { main });
  expect(run.stderr).toEqual([
    expect.stringMatching(/^error: swiglu F32 \[1, \d+\] is wrong: normalised square error/),
  ]);
  expect(run.text).toMatch(/^swiglu \(gated-activation\S*\) +F32 .*WRONG +- +- +- +- +-$/m);
  expect(run.status).toBe(1);
});
