// The laboratory leaves no kernel out, finds all of them right, and would say if one were wrong.

import { expect, test } from "vitest";
import type { KernelCase } from "../../src/laboratory/kernels/kernel-case.ts";
import { KERNELS, kernelCases } from "../../src/laboratory/kernels/kernel-cases.ts";
import { measure, measureAll, type Timing } from "../../src/laboratory/kernels/measure.ts";
import { measureRates } from "../../src/laboratory/kernels/rates.ts";
import { Workbench } from "../../src/laboratory/kernels/workbench.ts";
import { openDevice, shaderNames, shaderSource, useGpu } from "../support/gpu.ts";

const gpu = await useGpu();
const matrix = { n: 64, k: 256 };

/** The cases of one kernel, small ones. */
function casesOf(kernel: string, format?: string): KernelCase[] {
  return kernelCases({ kernel, format, tokens: 5 }, matrix);
}

/** A case that expects something else than what it should. */
function corrupted(one: KernelCase, change: (expected: Float64Array) => void): KernelCase {
  return {
    ...one,
    async prepare(bench) {
      const prepared = await one.prepare(bench);
      const expected = () => {
        const numbers = Float64Array.from(prepared.expected());
        change(numbers);
        return numbers;
      };
      return { ...prepared, expected };
    },
  };
}

/** Shaders that multiply, of which an adapter gets one for one token and one for several; the one that measures it; and attention to more tokens than here. */
const OTHERS = [
  "attention-cpu",
  "matmul",
  "matmul-cpu",
  "matmul-matrices",
  "matvec",
  "matvec-cpu",
  "multiply-rate",
];

test("every kernel of the engine is right, timed, and frees what it takes", async () => {
  const before = gpu.device.memory;
  const timings: Timing[] = [];
  for (const kernel of KERNELS) {
    const format = kernel.startsWith("mat") || kernel === "embed" ? "Q4_K" : undefined;
    timings.push(...(await measureAll(gpu, casesOf(kernel, format), 1)));
  }
  for (const timing of timings) {
    expect(timing, `${timing.kernel} ${timing.shape}`).toMatchObject({ wrong: null });
    expect(timing.maxError).toBeLessThan(timing.kernel === "rope-store" ? 5e-3 : 1e-4);
    expect(timing.us).toBeGreaterThan(0);
  }
  expect(gpu.device.memory).toEqual(before);
  const entries = shaderNames()
    .filter((name) => shaderSource(name).includes("@compute"))
    .map((name) => name.replace(/^.*\//, ""));
  const timed = timings.flatMap(({ shader }) =>
    shader.split(" + ").map((name) => name.split(".")[0]!),
  );
  expect(new Set([...timed, ...OTHERS])).toEqual(new Set(entries));
});

test("what is wrong is told, gets no time, and frees what it takes", async () => {
  const before = gpu.device.memory;
  const [matvec] = casesOf("matvec", "Q8_0");
  const off = await measure(
    gpu,
    corrupted(matvec!, (expected) => {
      expected[7]! *= 1.01;
    }),
    1,
  );
  expect(off.wrong).toMatch(/^normalised square error \d\.\de-\d+$/);
  expect(off).toMatchObject({ us: null, gigabytesPerSecond: null, multiplyGigaPerSecond: null });
  expect(off.maxError).toBeGreaterThan(1e-4);
  const nan = await measure(
    gpu,
    corrupted(matvec!, (expected) => expected.fill(Number.NaN, 3, 4)),
    1,
  );
  expect(nan).toMatchObject({ wrong: "NaN or infinity", maxError: null, us: null });
  // The id of the likeliest token is no matter of tolerance.
  const [choose] = casesOf("choose");
  const other: KernelCase = {
    ...choose!,
    async prepare(bench) {
      const prepared = await choose!.prepare(bench);
      return { ...prepared, variants: [[]] };
    },
  };
  expect((await measure(gpu, other, 1)).wrong).toBe("NaN or infinity");
  expect(gpu.device.memory).toEqual(before);
});

test("a signal ends it between two kernels", async () => {
  const controller = new AbortController();
  const cases = casesOf("rms-norm");
  expect(cases.length).toBe(2);
  const timings = await measureAll(gpu, cases, 1, {
    signal: controller.signal,
    onProgress: (done) => done === 1 && controller.abort(),
  });
  expect(timings.map(({ shape }) => shape)).toEqual(["[1, 256]"]);
});

test("an adapter copies and multiplies", async () => {
  const before = gpu.device.memory;
  const rates = await measureRates(gpu, 1);
  expect(rates.copyGigabytesPerSecond).toBeGreaterThan(0.1);
  expect(rates.multiplyGigaPerSecond).toBeGreaterThan(0.1);
  const most = { copyGigabytesPerSecond: 1e9, multiplyGigaPerSecond: 1e9 };
  expect(await measureRates(gpu, 1, most), "the higher ones count").toEqual(most);
  expect(gpu.device.memory).toEqual(before);
});

test("without timestamps the host's clock serves", async () => {
  await using device = await openDevice({ refuse: ["timestamp-query"] });
  const bench = await Workbench.create(device, shaderSource);
  const [timing] = await measureAll(bench, casesOf("matvec", "Q4_0"), 1);
  expect(timing).toMatchObject({ wrong: null });
  expect(timing!.us).toBeGreaterThan(0);
});
