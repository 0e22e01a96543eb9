// Engines for tests of the whole. To compile the kernels for llvmpipe takes seconds, so the engines of a test file share
// Dawn devices, and with them the pipelines that they have in common; nothing else is shared. What closing does to a
// device of its own is tested with `nodePlatform` itself.

import { afterAll, expect } from "vitest";
import type { Sequence } from "../../src/context/cache/sequence.ts";
import { Engine } from "../../src/engine/engine.ts";
import type { ByteSource } from "../../src/engine/gguf/source.ts";
import { bytesSource } from "../../src/engine/gguf/source.ts";
import { openModel } from "../../src/engine/model/open.ts";
import type { EngineOptions } from "../../src/engine/options.ts";
import type { Platform } from "../../src/engine/run/session.ts";
import type { StepRunner } from "../../src/engine/run/step.ts";
import type { Measurements } from "../../src/kernels/matrix/tuning.ts";
import { nodePlatform } from "../../src/platform/node.ts";

/** Appends tokens to a sequence; the logits [rows, V] after the last of them. */
export function step(
  engine: StepRunner,
  sequence: Sequence,
  tokens: readonly number[],
  rows: number,
): Promise<Float32Array> {
  return engine.run({ sequence, tokens, wanted: { kind: "logits", rows } });
}

const gpu = nodePlatform.openGpu();
/** By what was asked for at `requestDevice`. */
const devices = new Map<string, Promise<GPUDevice>>();
/** Dawn shares equal pipelines for as long as one of them is alive. */
const pipelines: GPUComputePipeline[] = [];
const uncaptured: string[] = [];
type Listener = (event: GPUUncapturedErrorEvent) => void;
/** Of the engines that are open: more than the ten listeners that Node takes for a leak. */
const listeners = new Map<GPUDevice, Set<Listener>>();

/** What tests take for measured: they neither wait for it nor depend on what this machine remembers. */
export const MEASURED: Measurements = {
  get: async (name) => (name.startsWith("matrices") ? 1 : name.includes("/card/") ? 512 : 16),
  set: () => Promise.reject(new Error("nothing was to be measured")),
};

/** Node, but that devices are shared and live until the end of the test file. */
export const sharingPlatform: Platform = {
  ...nodePlatform,
  measurements: MEASURED,
  openGpu: () => gpu,
  requestAdapter: async () => {
    const adapter = await nodePlatform.requestAdapter(gpu);
    return withMethods(adapter, {
      requestDevice: async (descriptor: GPUDeviceDescriptor) => {
        const key = JSON.stringify(descriptor);
        if (!devices.has(key)) devices.set(key, openDevice(adapter, descriptor));
        return lease(await devices.get(key)!);
      },
    });
  },
};

async function openDevice(adapter: GPUAdapter, descriptor: GPUDeviceDescriptor) {
  const device = await adapter.requestDevice(descriptor);
  device.addEventListener("uncapturederror", (event) => {
    event.preventDefault();
    uncaptured.push(event.error.message);
    for (const listener of listeners.get(device)!) listener(event);
  });
  listeners.set(device, new Set());
  return device;
}

/** A device to one engine: destroying it ends the lease only. */
function lease(device: GPUDevice): GPUDevice {
  let end: (info: GPUDeviceLostInfo) => void = () => {};
  const lost = new Promise<GPUDeviceLostInfo>((resolve) => {
    end = resolve;
  });
  const heard: Listener[] = [];
  return withMethods(device, {
    lost,
    destroy: () => {
      for (const listener of heard) listeners.get(device)!.delete(listener);
      end({ reason: "destroyed", message: "" } as GPUDeviceLostInfo);
    },
    addEventListener: (_: "uncapturederror", listener: Listener) => {
      heard.push(listener);
      listeners.get(device)!.add(listener);
    },
    createComputePipelineAsync: async (descriptor: GPUComputePipelineDescriptor) => {
      const pipeline = await device.createComputePipelineAsync(descriptor);
      pipelines.push(pipeline);
      return pipeline;
    },
  });
}

/** A native object with some of its properties replaced. */
export function withMethods<T extends object>(target: T, methods: Record<string, unknown>): T {
  return new Proxy(target, {
    get(_, name) {
      if (typeof name === "string" && name in methods) return methods[name];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

const engines: Engine[] = [];

/** Loads a model, a path or the bytes of a file; closed at the end of the test file if not before. */
export function loadEngine(
  model: string | Uint8Array,
  options: EngineOptions = {},
): Promise<Engine> {
  if (typeof model === "string") return load(model, nodePlatform.openFile, options);
  return load("test.gguf", bytesOpener({ "test.gguf": model }), options);
}

/** An engine whose device can be lost, with parts of its platform replaced. */
export async function losableEngine(
  model: Uint8Array,
  options: EngineOptions,
  changes: Partial<Platform> = {},
): Promise<{ readonly engine: Engine; lose(): void; readonly opened: () => number }> {
  const own: GPUDevice[] = [];
  const platform: Platform = {
    ...sharingPlatform,
    requestAdapter: async (gpu) => {
      const adapter = await sharingPlatform.requestAdapter(gpu);
      const requestDevice = async (descriptor: GPUDeviceDescriptor) => {
        const device = await adapter.requestDevice(descriptor);
        own.push(device);
        return device;
      };
      return withMethods(adapter, { requestDevice });
    },
    ...changes,
  };
  const file = await openModel("test.gguf", bytesOpener({ "test.gguf": model }));
  const engine = await Engine.open(platform, file, options);
  engines.push(engine);
  return { engine, lose: () => own.at(-1)!.destroy(), opened: () => own.length };
}

/** The same for a model of several files in memory. */
export function loadShards(
  files: Readonly<Record<string, Uint8Array>>,
  options: EngineOptions = {},
): Promise<Engine> {
  return load(Object.keys(files)[0]!, bytesOpener(files), options);
}

async function load(path: string, openFile: typeof nodePlatform.openFile, options: EngineOptions) {
  const engine = await Engine.open(sharingPlatform, await openModel(path, openFile), options);
  engines.push(engine);
  return engine;
}

export function bytesOpener(files: Readonly<Record<string, Uint8Array>>) {
  return async (path: string): Promise<ByteSource> => {
    const bytes = files[path];
    if (!bytes) throw new Error(`the test has no file ${path}`);
    return bytesSource(path, bytes);
  };
}

/** What Dawn reported that no one was waiting for: a test that provokes it takes it from here. */
export function takeUncaptured(): string[] {
  return uncaptured.splice(0);
}

afterAll(async () => {
  for (const engine of engines) await engine.close();
  pipelines.length = 0;
  for (const device of devices.values()) (await device).destroy();
  expect(uncaptured, "errors that Dawn reported").toEqual([]);
});
