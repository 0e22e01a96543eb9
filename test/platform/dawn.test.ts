import { expect, test, vi } from "vitest";
import { UserError } from "../../src/errors.ts";
import {
  describeAdapter,
  NoAdapterError,
  openGpu,
  requestAdapter,
} from "../../src/platform/dawn.ts";

test("the null backend needs no driver and is described in one line", async () => {
  const gpu = openGpu({ flags: ["backend=null"] });
  const line = describeAdapter(await requestAdapter(gpu));
  expect(line).toMatch(/^null-backend, .*subgroups.*f16, bindings up to \d+ MiB$/);
});

test("the real adapter is described by its driver", async () => {
  const gpu = openGpu();
  const adapter = await requestAdapter(gpu);
  expect(describeAdapter(adapter)).toContain(adapter.info.description);
});

test("without an adapter the error is the user's and names the way out", async () => {
  const gpu = { requestAdapter: async () => null } as unknown as GPU;
  const failure = requestAdapter(gpu);
  await expect(failure).rejects.toThrow(NoAdapterError);
  await expect(failure).rejects.toThrow(UserError);
  await expect(failure).rejects.toThrow(/^[^\n]*npm run setup[^\n]*$/);
});

test("switches of one name add up: Dawn by itself takes the last only", async () => {
  const features = "enable-dawn-features=use_vulkan_memory_model";
  const adapter = await requestAdapter(openGpu({ flags: ["backend=null", features] }));
  expect([...adapter.features]).toContain("chromium-experimental-subgroup-matrix");
});

test("Dawn is asked for halves on NVIDIA cards, beside what callers ask for", async () => {
  const flags: string[][] = [];
  vi.doMock("webgpu", () => ({ create: (given: string[]) => flags.push(given) }));
  vi.resetModules();
  try {
    const dawn = await import("../../src/platform/dawn.ts");
    dawn.openGpu({ flags: ["enable-dawn-features=use_vulkan_memory_model"] });
  } finally {
    vi.doUnmock("webgpu");
  }
  const enabled = flags[0]!.find((flag) => flag.startsWith("enable-dawn-features="))!;
  expect(enabled.slice(enabled.indexOf("=") + 1).split(",")).toEqual(
    expect.arrayContaining([
      "allow_unsafe_apis",
      "use_vulkan_memory_model",
      "vulkan_enable_f16_on_nvidia",
    ]),
  );
});
