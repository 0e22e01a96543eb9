// A device that is lost in the middle of a text, simulated by destroying it: the text goes on as if nothing had been.

import { afterAll, describe, expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { openModel } from "../../src/engine/inspect.ts";
import type { EngineOptions } from "../../src/engine/options.ts";
import type { Platform } from "../../src/engine/session.ts";
import { DeviceLostError, type GenerateOptions, SHIPPED_MODEL } from "../../src/index.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { withMethods } from "../support/engine.ts";

const PROMPT = "Once upon a time there was a little girl";
const opened: Engine[] = [];

/** An engine whose devices can be lost: `lose()` destroys the last one, `loseAt(n)` at its n-th submit from now on. */
async function fragile(options: EngineOptions = {}) {
  const devices: GPUDevice[] = [];
  const warnings: string[] = [];
  let left = Number.POSITIVE_INFINITY;
  let doomed = false;
  const platform: Platform = {
    ...nodePlatform,
    requestAdapter: async (gpu) => {
      const adapter = await nodePlatform.requestAdapter(gpu);
      const requestDevice = async (descriptor: GPUDeviceDescriptor) => {
        const device = await adapter.requestDevice(descriptor);
        devices.push(device);
        if (doomed) device.destroy();
        const submit = (buffers: GPUCommandBuffer[]) => {
          device.queue.submit(buffers);
          if (--left === 0) device.destroy();
        };
        return withMethods(device, { queue: withMethods(device.queue, { submit }) });
      };
      return withMethods(adapter, { requestDevice });
    },
  };
  const model = await openModel(SHIPPED_MODEL, nodePlatform.openFile);
  const onWarning = (message: string) => void warnings.push(message);
  const engine = await Engine.open(platform, model, { ...options, onWarning });
  opened.push(engine);
  const lose = () => devices.at(-1)!.destroy();
  const loseAt = (submit: number) => {
    left = submit;
  };
  const doom = (all: boolean) => {
    doomed = all;
  };
  return { engine, devices, warnings, lose, loseAt, doom };
}

afterAll(async () => {
  for (const engine of opened) await engine.close();
});

/** The ids of a text; `at(i)` is called after its i-th token. */
async function ids(engine: Engine, options: GenerateOptions, at = (_: number) => {}) {
  const all: number[] = [];
  for await (const { id } of engine.generate(PROMPT, { maxTokens: 24, ...options })) {
    all.push(id);
    at(all.length);
  }
  return all;
}

const WAYS: [name: string, options: GenerateOptions, load?: EngineOptions][] = [
  ["greedy, tokens chosen on the GPU", { temperature: 0 }],
  ["greedy, logits read back", { temperature: 0, logprobs: 2 }],
  ["sampled with a seed", { temperature: 0.8, seed: 7 }],
  ["recomputed for every token", { temperature: 0, cache: false }],
  [
    "under sinks, in small pages",
    { temperature: 0 },
    { attention: { kind: "sinks", sinks: 4, window: 12 }, pageSize: 4, chunk: 5 },
  ],
];

describe.each(WAYS)("a text %s", (_, options, load) => {
  test("is the same whichever token the device is lost after", async () => {
    const { engine, devices, lose, loseAt, warnings } = await fragile(load);
    const expected = await ids(engine, options);
    expect(expected.length).toBe(24);
    for (const token of [1, 2, 13, 23]) {
      const before = devices.length;
      expect(await ids(engine, options, (i) => i === token && lose())).toEqual(expected);
      expect(devices.length, `devices after a loss at token ${token}`).toBe(before + 1);
    }
    // Between tokens, where steps and copies are on their way: also in the prompt, and while the text is replayed.
    for (const submit of [1, 2, 3, 7]) {
      loseAt(submit);
      expect(await ids(engine, options)).toEqual(expected);
    }
    expect(warnings[0]).toMatch(/^The GPU device was lost .*It is opened again, and the text/);
    expect(engine.usage.pages).toBe(0);
  });
});

test("what is forgotten is told once", async () => {
  const { engine, lose } = await fragile({
    attention: { kind: "sinks", sinks: 4, window: 12 },
    pageSize: 4,
  });
  const run = async (at: (i: number) => void) => {
    const positions: number[] = [];
    const onEvict = (eviction: { positions: readonly number[] }) =>
      void positions.push(...eviction.positions);
    await ids(engine, { temperature: 0, maxTokens: 40, onEvict }, at);
    return positions;
  };
  const expected = await run(() => {});
  expect(expected.length).toBeGreaterThan(8);
  for (const token of [9, 10, 11, 12, 30])
    expect(await run((i) => i === token && lose())).toEqual(expected);
});

test("scores and texts that run side by side survive, too", async () => {
  const { engine, loseAt } = await fragile({ sequences: 2, chunk: 8 });
  const text = engine.tokenize(PROMPT);
  const [expected, score] = [await ids(engine, { temperature: 0 }), await engine.score(text)];
  loseAt(6);
  const both = await Promise.all([ids(engine, { temperature: 0 }), engine.score(text)]);
  expect(both[0]).toEqual(expected);
  // Tokens are computed together with others than the first time: sums in another order.
  expect(both[1].perplexity).toBeCloseTo(score.perplexity, 3);
});

test("three losses in a row are too many; the engine is there again when the device is", async () => {
  const { engine, devices, lose, doom } = await fragile();
  const expected = await ids(engine, { temperature: 0 });
  doom(true);
  const before = devices.length;
  const failed = ids(engine, { temperature: 0 }, (i) => i === 5 && lose());
  await expect(failed).rejects.toThrow(DeviceLostError);
  await expect(failed).rejects.toThrow(/^The GPU device was lost .*loss 3 in a row: giving up\.$/);
  expect(devices.length).toBe(before + 2);
  doom(false);
  expect(await ids(engine, { temperature: 0 })).toEqual(expected);
});

test("attention weights are lost with the device: the next text has them again", async () => {
  const { engine, lose } = await fragile({ chunk: 1 });
  const rows = async (at = (_: number) => {}) => {
    let count = 0;
    for await (const _ of engine.attention(PROMPT, { layer: 0 })) at(++count);
    return count;
  };
  const expected = await rows();
  await expect(rows((i) => i === 3 && lose())).rejects.toThrow(DeviceLostError);
  expect(await rows()).toBe(expected);
});
