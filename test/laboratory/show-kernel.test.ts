// Every kernel can be shown, and what is shown is what was compiled.

import { expect, test, vi } from "vitest";
import { readAdapter } from "../../src/kernels/adapter/adapter.ts";
import type { Device } from "../../src/kernels/gpu/device.ts";
import { FORMATS } from "../../src/kernels/weights/formats/index.ts";
import { formatsOf, KERNELS } from "../../src/laboratory/kernels/kernel-cases.ts";
import { showKernel } from "../../src/laboratory/kernels/show-kernel.ts";
import { openDevice, shaderNames, shaderSource } from "../support/gpu.ts";

const NULL = { null: true, limits: { maxStorageBuffersPerShaderStage: 8 } } as const;
const SHAPE = { n: 256, k: 256 };

/** The text of every module that is compiled from now on. */
function compiledTexts(device: Device): Set<string> {
  const texts = new Set<string>();
  const create = device.handle.createShaderModule.bind(device.handle);
  vi.spyOn(device.handle, "createShaderModule").mockImplementation((module) => {
    texts.add(module.code);
    return create(module);
  });
  return texts;
}

/** Formats are fragments of one page: all of them of one kernel that reads weights, and a few of the others. */
const isTried = (kernel: string, format: string) =>
  kernel === "matvec" || !FORMATS.has(format) || ["F32", "Q4_K", "IQ4_XS"].includes(format);
const cases = KERNELS.flatMap((kernel) =>
  formatsOf(kernel)
    .filter((format) => isTried(kernel, format))
    .map((format, i) => ({ kernel, format, tokens: i % 2 === 0 ? 1 : 3 })),
);

test("every kernel, for one token or for several", async () => {
  await using device = await openDevice(NULL);
  const compiled = compiledTexts(device);
  const adapter = readAdapter(device);
  const names = new Set(shaderNames().map((page) => `src/kernels/${page}.wgsl`));
  for (const { kernel, format, tokens } of cases) {
    const selection = { kernel, format, tokens };
    const shown = await showKernel(device, adapter, shaderSource, selection, SHAPE);
    expect(shown).toMatchObject({ kernel, format });
    expect(shown.shaders.length).toBeGreaterThan(0);
    for (const { name, parts, overrides } of shown.shaders) {
      expect(compiled, name).toContain(parts.map(({ text }) => text).join("\n"));
      for (const { file } of parts) expect(names).toContain(file);
      const text = parts.map((part) => part.text).join("\n");
      for (const name of Object.keys(overrides)) expect(text).toContain(`override ${name}:`);
    }
  }
  expect(device.memory.buffers).toBe(cases.length); // the parameters of each
});

test("without a format, the one that is usual; for several tokens, what they get", async () => {
  await using device = await openDevice(NULL);
  const adapter = readAdapter(device);
  const show = (kernel: string, tokens: number) =>
    showKernel(device, adapter, shaderSource, { kernel, tokens }, SHAPE);
  expect((await show("matvec", 1)).format).toBe("Q4_K");
  const [one, several] = [await show("attention", 1), await show("attention", 3)];
  expect([one.format, several.format]).toEqual(["f16", "f16"]);
  expect(one.shape).toMatch(/^1 × /);
  expect(several.shape).toMatch(/^3 × /);
  const files = ({ shaders }: typeof one) =>
    shaders.flatMap(({ parts }) => parts.map((p) => p.file));
  expect(files(one)).toContain("src/kernels/attention/queries/projected.wgsl");
  expect(files(several)).toContain("src/kernels/attention/queries/rotated.wgsl");
  expect(files(one)).toContain("src/kernels/attention/attention-merge.wgsl");
});
