// The chooser: it finds the number of workgroups that is fastest, asks what was measured before, and changes no bit.

import { describe, expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { openModel } from "../../src/engine/model/open.ts";
import { readAdapter } from "../../src/kernels/adapter/adapter.ts";
import { matvecTiling } from "../../src/kernels/adapter/tiling.ts";
import type { Device, DeviceOptions } from "../../src/kernels/gpu/device.ts";
import { gate, project } from "../../src/kernels/matrix/products.ts";
import type { Measurements } from "../../src/kernels/matrix/tuning.ts";
import { firstOfFastest, measureWorkgroups, tuningOf } from "../../src/kernels/matrix/tuning.ts";
import * as reference from "../../src/kernels/reference.ts";
import { Q4_K } from "../../src/kernels/weights/formats/q4-k.ts";
import { decode, randomFloats, randomTensor } from "../../src/laboratory/kernels/random.ts";
import { Workbench } from "../../src/laboratory/kernels/workbench.ts";
import { nodePlatform, SHIPPED_MODEL } from "../../src/platform/node.ts";
import { sharingPlatform, step, withMethods } from "../support/engine.ts";
import { openDevice, shaderSource, type TestGpuOptions } from "../support/gpu.ts";
import { expectClose } from "../support/numbers.ts";

/** The shaders, but that a product takes long where a workgroup has any other number of rows. */
function fastWith(rows: number) {
  return (name: string) => {
    const shader = shaderSource(name);
    if (!name.includes("/matvec")) return shader;
    const line = /^ +output\(.*;$/m;
    expect(shader).toMatch(line);
    return shader.replace(
      line,
      `  for (var i = 0u; i < select(1500u, 1u, ROWS == ${rows}u); i++) {\n$&\n  }`,
    );
  };
}

function memory(...known: [string, number][]) {
  const numbers = new Map(known);
  const asked: string[] = [];
  const kept: Measurements = {
    get: async (name) => {
      asked.push(name);
      return numbers.get(name);
    },
    set: async (name, value) => void numbers.set(name, value),
  };
  return { ...kept, numbers, asked };
}

test.each([
  [440, 2],
  [240, 4],
  [128, 8],
  [64, 16],
  [32, 32],
])("of a software adapter, for which %d rows are fastest", async (rows, workgroups) => {
  await using device = await openDevice();
  expect(await measureWorkgroups(device, fastWith(rows))).toBe(workgroups);
});

test.each([
  [32, 128],
  [16, 256],
  [8, 512],
])("of a card, for which %d rows are fastest", async (rows, workgroups) => {
  await using device = await openDevice({ card: true });
  expect(await measureWorkgroups(device, fastWith(rows))).toBe(workgroups);
});

test("without subgroups of eight, 2 to 16 workgroups take as many rows, and are one candidate", async () => {
  for (const [rows, workgroups] of [
    [64, 16],
    [32, 32],
  ] as const) {
    await using device = await openDevice({ refuse: ["subgroups"] });
    expect(await measureWorkgroups(device, fastWith(rows))).toBe(workgroups);
  }
});

test("a moment in which the machine is fast, or slow, decides nothing", () => {
  const usual = [75, 85, 88, 100, 110];
  const rounds = Array.from({ length: 15 }, (_, round) =>
    usual.map((us) => us * (round < 7 ? 1 : 2)),
  );
  rounds[3] = [150, 85, 88, 100, 50]; // the last one has the least of all times, and the best of all rounds
  expect(firstOfFastest(rounds)).toBe(0);
  expect(firstOfFastest(rounds.map(([a, ...others]) => [2 * a!, ...others]))).toBe(1);
  // Of about as fast ones the first: 3 % are about as fast, 6 % are not.
  expect(firstOfFastest([[103, 100, 101]])).toBe(0);
  expect(firstOfFastest([[106, 100, 101]])).toBe(1);
});

describe("a workgroup that takes as many rows as its shader has room for", () => {
  test.each<[string, TestGpuOptions, number]>([
    ["of a software adapter", {}, 1024],
    ["of a card", { card: true }, 32],
  ])("%s: all of them are right", async (_, options, rows) => {
    await using device = await openDevice(options);
    const bench = await Workbench.create(device, shaderSource, { workgroups: 1e-3 });
    const [n, k] = [2 * rows + 26, 256]; // the last workgroup has fewer, and the last eight, too
    const { overrides } = matvecTiling(bench.adapter, {
      placement: bench.adapter.placement,
      n,
      tokens: "one",
      least: 8,
    });
    expect(overrides.ROWS).toBe(rows);
    const [file, input] = [randomTensor(Q4_K, n, k, 1), randomFloats(2, k)];
    const weights = await bench.weights(Q4_K, n, k, file);
    const x = await bench.activations(1, k, input);
    const products = reference.project(input, decode(Q4_K, file), 1, n, k);
    // Sums of 256 terms in f32 round at most so often.
    const tolerance = { abs: 256 * 2 ** -24 * Math.max(...products.map(Math.abs)) };

    const y = await bench.activations(1, n);
    await bench.run(project(bench.one, { x, weights, y }));
    expectClose(await bench.readActivations(y), products, tolerance);

    const [gateUp, hidden] = [await bench.activations(1, n), await bench.activations(1, n / 2)];
    await bench.run(
      gate(bench.one, { label: "gate", x, weights, gateUp, hidden, activation: "silu" }),
    );
    const gated = Float64Array.from({ length: n / 2 }, (_, i) => {
      const z = products[i]!;
      return (z / (1 + Math.exp(-z))) * products[n / 2 + i]!;
    });
    // Each factor is off by that much, and silu' is below 1.1.
    const abs = 2.2 * tolerance.abs * Math.max(...products.map(Math.abs));
    expectClose(await bench.readActivations(hidden), gated, { abs });
  });
});

describe("what was measured", () => {
  /** Asks for an adapter of which `info` is changed so; counts what is opened for it. */
  async function asked(
    of: Measurements,
    info: Record<string, unknown> = {},
    options: DeviceOptions = {},
    shaders = fastWith(64),
  ) {
    await using device = await openDevice(options);
    const value = withMethods(device.info, info);
    Object.defineProperty(device, "info", { value });
    const opened: Device[] = [];
    const open = async () => {
      const second = await openDevice(options);
      opened.push(second);
      return second;
    };
    const { workgroups: count } = await tuningOf(device, of, open, shaders);
    for (const second of opened) {
      expect(second.memory).toEqual({ bytes: 0, buffers: 0 });
      expect((await second.handle.lost).reason).toBe("destroyed");
    }
    return { count, opened: opened.length };
  }

  test("is remembered, by all that tells adapters apart and by the shader that multiplies", async () => {
    const known = memory();
    expect(await asked(known)).toEqual({ count: 16, opened: 1 });
    expect(await asked(known)).toEqual({ count: 16, opened: 0 });
    for (const field of ["vendor", "architecture", "device", "description"]) {
      expect((await asked(known, { [field]: "another" })).opened, field).toBe(1);
    }
    expect((await asked(known, {}, { refuse: ["subgroups"] })).opened).toBe(1);
    const another = fastWith(128);
    expect((await asked(known, {}, {}, another)).opened, "another text of the shader").toBe(1);
    expect(known.numbers.size).toBe(7);
    expect(await asked(known)).toEqual({ count: 16, opened: 0 });
  });

  test("is measured again where it is no candidate of this adapter", async () => {
    const known = memory();
    await asked(known);
    const [name] = known.numbers.keys();
    expect(await asked(memory([name!, 32]))).toEqual({ count: 32, opened: 0 });
    for (const wrong of [0, 17, 512]) {
      expect(await asked(memory([name!, wrong])), `${wrong}`).toEqual({ count: 16, opened: 1 });
    }
  });

  test("is the usual number, and not kept, where it cannot be measured", async () => {
    const known = memory();
    await using device = await openDevice();
    const open = () => Promise.reject(new Error("no second adapter"));
    const usual = { workgroups: readAdapter(device).workgroups, matrices: false };
    expect(await tuningOf(device, known, open, fastWith(4))).toEqual(usual);
    const lost = async () => {
      const second = await openDevice();
      second.handle.destroy();
      return second;
    };
    expect(await tuningOf(device, known, lost, fastWith(4))).toEqual(usual);
    expect(known.numbers.size).toBe(0);
  });
});

test("an engine that nobody has measured for is measured for, and holds no more than others", async () => {
  const empty = memory();
  const model = await openModel(SHIPPED_MODEL, nodePlatform.openFile);
  const platform = { ...sharingPlatform, measurements: empty };
  await using engine = await Engine.open(platform, model, { context: 64 });
  expect([...empty.numbers.values()]).toHaveLength(1);
  const again = await openModel(SHIPPED_MODEL, nodePlatform.openFile);
  await using other = await Engine.open(sharingPlatform, again, { context: 64 });
  expect(engine.usage.bytes).toBe(other.usage.bytes);
});

test("an engine takes what is remembered, and its logits are the same bits", async () => {
  const results: Float32Array[] = [];
  for (const workgroups of [4, 8, 32]) {
    const remembered = memory();
    const get = async (name: string) => {
      await remembered.get(name);
      return workgroups;
    };
    const platform = { ...sharingPlatform, measurements: { ...remembered, get } };
    const model = await openModel(SHIPPED_MODEL, nodePlatform.openFile);
    await using engine = await Engine.open(platform, model, { context: 64 });
    const sequence = engine.sequence();
    for (const token of [1, 403, 407, 261]) await step(engine, sequence, [token], 0);
    results.push(await step(engine, sequence, [378], 1));
    expect(remembered.asked).toHaveLength(1);
    expect(remembered.numbers.size).toBe(0);
  }
  expect(results[0]!.some((logit) => logit !== 0)).toBe(true);
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});
