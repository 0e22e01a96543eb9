// What an engine takes and gives back: bytes as planned, pages after every text, everything after close and after a
// load that failed. On devices of its own, unlike the other tests, wherever closing is what is tested.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import type { ByteSource } from "../../src/engine/gguf/source.ts";
import { bytesSource } from "../../src/engine/gguf/source.ts";
import { openModel, planMemory } from "../../src/engine/model/open.ts";
import type { EngineOptions } from "../../src/engine/options.ts";
import type { Platform } from "../../src/engine/run/session.ts";
import { CapacityError, GpuError, SHIPPED_MODEL, UserError } from "../../src/index.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import {
  loadEngine,
  MEASURED,
  sharingPlatform,
  step,
  takeUncaptured,
  withMethods,
} from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";
import { type TinyModel, tinyModel } from "../support/tiny-model.ts";

const tiny = tinyModel();
const pathOf = (model: TinyModel | string) => (typeof model === "string" ? model : "test.gguf");

const plans: [name: string, model: TinyModel | string, options: EngineOptions][] = [
  ["the shipped model", SHIPPED_MODEL, {}],
  ["f32 pages of 64", SHIPPED_MODEL, { kv: "f32", pageSize: 64, context: 1000, chunk: 33 }],
  [
    "sinks",
    SHIPPED_MODEL,
    { attention: { kind: "sinks", sinks: 5, window: 100 }, cacheTokens: 600 },
  ],
  ["mixed F16 and Q5_0", fixtureModel("stories260K-Q5_0mix.gguf"), { context: 77, pageSize: 7 }],
  ["IQ4_XS", fixtureModel("tinystories-4m.IQ4_XS.gguf"), { chunk: 1 }],
  ["qwen3's norms of heads", fixtureModel("qwen3-qknorm-F16.gguf"), { context: 99 }],
  ["qwen2's biases", fixtureModel("qwen2-bias-F16.gguf"), {}],
  ["a bias everywhere, tied", tinyModel({ biases: "all", tied: true }), { chunk: 5 }],
  ["divisors of frequencies", tinyModel({ ropeFreqs: [1, 2, 3, 4], slidingWindow: 5 }), {}],
];

test.each(plans)("memory is what was planned: %s", async (_, model, options) => {
  const open = () =>
    openModel(pathOf(model), async (path) =>
      typeof model === "string" ? nodePlatform.openFile(path) : bytesSource(path, model.bytes),
    );
  const { file, config } = await open();
  const plan = planMemory(file, config, options);
  await file.close();
  const engine = await loadEngine(typeof model === "string" ? model : model.bytes, options);
  expect(engine.usage.bytes).toBe(plan.total);
  expect(engine.loaded.weightBytes).toBe(plan.weights);
  await engine.complete([2, 3, 4, 5], { maxTokens: 3, temperature: 0, ignoreEos: true });
  expect(engine.usage.bytes, "after a text").toBe(plan.total);
  await engine.close();
});

/** Node's platform over one file, which sees what is opened and closed. */
function watched(bytes: Uint8Array, changes: Partial<ByteSource> = {}) {
  const seen = { open: 0, closed: 0, devices: [] as GPUDevice[] };
  const openFile = async (path: string): Promise<ByteSource> => {
    seen.open++;
    const close = async () => void seen.closed++;
    return { ...bytesSource(path, bytes), ...changes, close };
  };
  const platform: Platform = {
    ...nodePlatform,
    availableMemory: () => undefined, // what adapters refuse is seen here
    measurements: MEASURED,
    requestAdapter: async (gpu) => {
      const adapter = await nodePlatform.requestAdapter(gpu);
      const requestDevice = async (descriptor: GPUDeviceDescriptor) => {
        const device = await adapter.requestDevice(descriptor);
        seen.devices.push(device);
        return device;
      };
      return withMethods(adapter, { requestDevice });
    },
  };
  const load = async (options?: EngineOptions) =>
    Engine.open(platform, await openModel("test.gguf", openFile), options);
  /** Every file closed, every device destroyed. */
  const expectNothingLeft = async () => {
    expect(seen.open).toBeGreaterThan(0);
    expect(seen.closed).toBe(seen.open);
    for (const device of seen.devices) expect((await device.lost).reason).toBe("destroyed");
  };
  return { seen, load, expectNothingLeft };
}

test("closing leaves nothing; the engine says so when it is used again", async () => {
  const { seen, load, expectNothingLeft } = watched(tiny.bytes);
  const engine = await load();
  expect(engine.usage.bytes).toBeGreaterThan(0);
  const during = engine.complete([2, 3], { maxTokens: 50, ignoreEos: true });
  const outcome = expect(during).rejects.toThrow(/closed/);
  await engine.close();
  await engine.close();
  await outcome;
  expect(engine.usage).toMatchObject({ bytes: 0, buffers: 0, pages: 0 });
  expect(seen.devices.length).toBe(1);
  await expectNothingLeft();
  await expect(engine.complete([2, 3])).rejects.toThrow(/closed/);
});

test("a disk that fails midway is a UserError, and leaves nothing", async () => {
  const plain = bytesSource("test.gguf", tiny.bytes);
  const dataStarts = tiny.bytes.length - 30_000;
  for (const healthy of [0, dataStarts - 1000, dataStarts + 5_000, tiny.bytes.length - 100]) {
    const { load, expectNothingLeft } = watched(tiny.bytes, {
      read: async (offset, into) => {
        if (offset + into.length > healthy) throw new UserError("test.gguf: the disk is broken");
        return plain.read(offset, into);
      },
    });
    const failure = load();
    await expect(failure).rejects.toThrow(UserError);
    await expect(failure).rejects.toThrow("the disk is broken");
    await expectNothingLeft();
  }
});

test("what no buffer holds is a CapacityError that names the tensor and its bytes", async () => {
  const bytes = readFileSync(fixtureModel("stories260K-F32.gguf"));
  const { seen, load, expectNothingLeft } = watched(bytes);
  const failure = load({ device: { limits: { maxBufferSize: 1000 } } });
  await expect(failure).rejects.toThrow(CapacityError);
  await expect(failure).rejects.toThrow(/token_embd\.weight.* bytes|token_embd\.weight.*exceed/);
  expect(seen.devices.length).toBe(1);
  await expectNothingLeft();
});

test("a cache that no binding holds is a CapacityError that gives the ways out", async () => {
  const { load, expectNothingLeft } = watched(tiny.bytes);
  const failure = load({ context: 2 ** 31 });
  await expect(failure).rejects.toThrow(CapacityError);
  await expect(failure).rejects.toThrow(/A cache of 134217728 pages needs \d+ bytes.*window/);
  await expectNothingLeft();
});

test("more workgroups than an adapter takes are a CapacityError that names the kernel", async () => {
  // An adapter takes 65,535 along an axis, and 65,536 heads are too many, as two are here for one that takes one.
  const load = (model: Uint8Array, most: number, chunk: number) =>
    watched(model).load({
      context: 64,
      chunk,
      device: { limits: { maxComputeWorkgroupsPerDimension: most } },
    });
  const many = load(tiny.bytes, 1, 1);
  await expect(many).rejects.toThrow(CapacityError);
  await expect(many).rejects.toThrow(/needs \d+ workgroups in a row for a step of 1 tokens/);
  const long = load(tiny.bytes, 24, 64);
  await expect(long).rejects.toThrow(CapacityError);
  await expect(long).rejects.toThrow(/for a step of 64 tokens; this adapter allows 24. .*--chunk/);
});

test("scratch that no binding holds is a CapacityError that names the way out", async () => {
  const limits = { maxStorageBufferBindingSize: 100_000 };
  const { load, expectNothingLeft } = watched(tiny.bytes);
  const failure = load({ chunk: 512, context: 64, device: { limits } });
  await expect(failure).rejects.toThrow(CapacityError);
  await expect(failure).rejects.toThrow(/512.*bytes in one binding.*100000/);
  await expectNothingLeft();
});

test("every pipeline is there before the first token", async () => {
  let made = 0;
  const platform: Platform = {
    ...sharingPlatform,
    requestAdapter: async (gpu) => {
      const adapter = await sharingPlatform.requestAdapter(gpu);
      const requestDevice = async (descriptor: GPUDeviceDescriptor) => {
        const device = await adapter.requestDevice(descriptor);
        const counted = (create: (descriptor: GPUComputePipelineDescriptor) => unknown) => {
          return (descriptor: GPUComputePipelineDescriptor) => {
            made++;
            return create(descriptor);
          };
        };
        return withMethods(device, {
          createComputePipeline: counted((d) => device.createComputePipeline(d)),
          createComputePipelineAsync: counted((d) => device.createComputePipelineAsync(d)),
        });
      };
      return withMethods(adapter, { requestDevice });
    },
  };
  const file = await openModel("test.gguf", async (path) => bytesSource(path, tiny.bytes));
  await using engine = await Engine.open(platform, file, { chunk: 5, context: 2000 });
  const loaded = made;
  expect(loaded).toBeGreaterThan(5);
  const prompt = Array.from({ length: 700 }, (_, i) => 2 + (i % 20)); // two splits of attention
  for (const options of [{ temperature: 0 }, { temperature: 1, seed: 1, logprobs: 3 }]) {
    for (const length of [1, 7, 700]) {
      await engine.complete(prompt.slice(0, length), { ...options, maxTokens: 3, ignoreEos: true });
    }
  }
  await engine.score(prompt);
  expect(made).toBe(loaded);
  for (let layer = 0; layer <= engine.config.layers; layer++) await engine.embed(prompt, { layer });
  expect(made).toBeLessThanOrEqual(loaded + 1); // the norm of hidden states: products norm on the way
});

test("a decoding step is one pass and one submit, with three dispatches outside the layers", async () => {
  const seen = { passes: 0, submits: 0 };
  const platform: Platform = {
    ...sharingPlatform,
    requestAdapter: async (gpu) => {
      const adapter = await sharingPlatform.requestAdapter(gpu);
      const requestDevice = async (descriptor: GPUDeviceDescriptor) => {
        const device = await adapter.requestDevice(descriptor);
        const submit = (buffers: GPUCommandBuffer[]) => {
          seen.submits++;
          device.queue.submit(buffers);
        };
        const createCommandEncoder = () => {
          const encoder = device.createCommandEncoder();
          const beginComputePass = () => {
            seen.passes++;
            return encoder.beginComputePass();
          };
          return withMethods(encoder, { beginComputePass });
        };
        const queue = withMethods(device.queue, { submit });
        return withMethods(device, { queue, createCommandEncoder });
      };
      return withMethods(adapter, { requestDevice });
    },
  };
  const file = await openModel("test.gguf", async (path) => bytesSource(path, tiny.bytes));
  await using engine = await Engine.open(platform, file);
  const generation = engine.generate([2, 3, 4], { temperature: 0, maxTokens: 9, ignoreEos: true });
  await generation.next(); // the prompt
  const before = { ...seen };
  for (let i = 0; i < 8; i++) await generation.next();
  expect(seen.submits - before.submits).toBe(8);
  expect(seen.passes - before.passes).toBe(8);
  // A layer of this model: q k v, attention with rope and store, its merge, output, gate and up, down.
  expect(engine.usage.dispatches).toBe(3 + 6 * engine.config.layers);
});

test("an error that Dawn reports to no one ends the next step", async () => {
  let device: GPUDevice | undefined;
  const platform: Platform = {
    ...sharingPlatform,
    requestAdapter: async (gpu) => {
      const adapter = await sharingPlatform.requestAdapter(gpu);
      const requestDevice = async (descriptor: GPUDeviceDescriptor) => {
        device = await adapter.requestDevice(descriptor);
        return device;
      };
      return withMethods(adapter, { requestDevice });
    },
  };
  const model = await openModel("test.gguf", async (path) => bytesSource(path, tiny.bytes));
  await using engine = await Engine.open(platform, model);
  device!.createBuffer({ size: 16, usage: 0 }); // no usage at all: invalid
  await expect(engine.complete([2, 3], { maxTokens: 2 })).rejects.toThrow(GpuError);
  expect(engine.usage.pages).toBe(0);
  expect(takeUncaptured().length).toBe(1);
});

test("pages come back after a text, a loop left early, an abort and a failure", async () => {
  const engine = await loadEngine(tiny.bytes, { context: 64, pageSize: 4, chunk: 4 });
  const prompt = Array.from({ length: 20 }, (_, i) => 2 + i);
  const options = { maxTokens: 30, ignoreEos: true, temperature: 0 };

  const generation = engine.generate(prompt, options);
  await generation.next();
  expect(engine.usage.pages).toBe(5);
  await generation.return(undefined as never);
  expect(engine.usage.pages, "left before its end").toBe(0);

  for await (const _ of engine.generate(prompt, options)) break;
  expect(engine.usage.pages, "left by break").toBe(0);

  await expect(async () => {
    for await (const _ of engine.generate(prompt, options)) throw new Error("the user's own");
  }).rejects.toThrow("the user's own");
  expect(engine.usage.pages, "left by a throw").toBe(0);

  await engine.complete(prompt, options);
  expect(engine.usage.pages, "ended").toBe(0);

  const result = await engine.complete(prompt, { ...options, signal: AbortSignal.abort() });
  expect(result).toMatchObject({ finishReason: "aborted", tokens: [], text: "" });
  expect(engine.usage.pages, "aborted").toBe(0);

  // Another text holds the cache: a second one has no room, says so, and what it had it gives back.
  const holder = engine.sequence();
  for (let at = 0; at < 40; at += 4) await step(engine, holder, [2, 3, 4, 5], 0);
  await expect(engine.complete(prompt, options)).rejects.toThrow(CapacityError);
  expect(engine.usage.pages, "failed").toBe(10);
  holder.clear();
  expect(engine.usage.pages).toBe(0);
});

test("an abort between the chunks of a long prompt ends there", async () => {
  const engine = await loadEngine(tiny.bytes, { context: 64, chunk: 2 });
  const controller = new AbortController();
  const prompt = Array.from({ length: 60 }, () => 5);
  const generation = engine.complete(prompt, { maxTokens: 4, signal: controller.signal });
  setTimeout(() => controller.abort());
  expect(await generation).toMatchObject({ finishReason: "aborted", tokens: [] });
  expect(engine.usage.pages).toBe(0);
});

test("a model that is larger than a software adapter's memory is refused before anything is allocated", async () => {
  let devices = 0;
  const platform: Platform = {
    ...sharingPlatform,
    availableMemory: () => 100_000,
    requestAdapter: async (gpu) => {
      const adapter = await sharingPlatform.requestAdapter(gpu);
      const requestDevice = (descriptor: GPUDeviceDescriptor) => {
        devices++;
        return adapter.requestDevice(descriptor);
      };
      return withMethods(adapter, { requestDevice });
    },
  };
  const open = async (on: Platform) =>
    Engine.open(on, await openModel("test.gguf", async (path) => bytesSource(path, tiny.bytes)));
  await expect(open(platform)).rejects.toThrow(CapacityError);
  await expect(open(platform)).rejects.toThrow(
    /^The model takes \d\.\d\d GB \(weights .*, cache .*\), and this machine has 0\.00 GB of memory left: [^\n]*$/,
  );
  expect(devices).toBe(0);
  await using engine = await open({ ...platform, availableMemory: () => undefined }); // a card tells by itself
  expect(devices).toBe(1);
  expect(engine.usage.pages).toBe(0);
});
