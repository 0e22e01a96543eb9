// The chooser: it finds the number of workgroups that is fastest, asks what was measured before, and changes no bit.

import { expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { openModel } from "../../src/engine/inspect.ts";
import type { Memory } from "../../src/kernels/workgroups.ts";
import { measureWorkgroups, workgroupsOf } from "../../src/kernels/workgroups.ts";
import { nodePlatform, SHIPPED_MODEL } from "../../src/platform/node.ts";
import { sharingPlatform } from "../support/engine.ts";
import { openDevice, shaderSource } from "../support/gpu.ts";

/** The pages, but that a product takes long where a workgroup has any other number of rows. */
function fastWith(rows: number) {
  return (name: string) => {
    const page = shaderSource(name);
    if (!name.startsWith("matvec")) return page;
    const line = /^ {2}output\(.*;$/m;
    expect(page).toMatch(line);
    return page.replace(
      line,
      `  for (var i = 0u; i < select(1500u, 1u, ROWS == ${rows}u); i++) {\n$&\n  }`,
    );
  };
}

function memory(...known: [string, number][]) {
  const numbers = new Map(known);
  const asked: string[] = [];
  const kept: Memory = {
    recall: async (name) => {
      asked.push(name);
      return numbers.get(name);
    },
    keep: async (name, value) => void numbers.set(name, value),
  };
  return { ...kept, numbers, asked };
}

test.each([
  [256, 4],
  [128, 8],
  [64, 16],
  [32, 32],
])("of a software adapter, for which %d rows are fastest", async (rows, workgroups) => {
  await using device = await openDevice();
  expect(await measureWorkgroups(device, fastWith(rows))).toBe(workgroups);
});

test.each([
  [64, 64],
  [32, 128],
  [16, 256],
  [8, 512],
])("of a card, for which %d rows are fastest", async (rows, workgroups) => {
  await using device = await openDevice({ card: true });
  expect(await measureWorkgroups(device, fastWith(rows))).toBe(workgroups);
});

test("an adapter is measured once, and again where what is remembered cannot be", async () => {
  const empty = memory();
  await using device = await openDevice();
  const { info } = device;
  let opened = 0;
  const open = async () => {
    opened++;
    return openDevice();
  };
  const ask = (of: Memory, adapter = info) => workgroupsOf(adapter, of, open, fastWith(64));
  expect([await ask(empty), await ask(empty), opened]).toEqual([16, 16, 1]);
  expect([...empty.numbers.values()]).toEqual([16]);
  const [name] = empty.numbers.keys();
  expect(name).toContain(info.description);

  expect([await ask(memory([name!, 32])), opened]).toEqual([32, 1]);
  for (const wrong of [0, -8, 17, 4.5, 1e9]) await ask(memory([name!, wrong]));
  expect(opened).toBe(6);
  await ask(empty, {
    ...info,
    vendor: info.vendor,
    description: "another driver",
  } as GPUAdapterInfo);
  expect(opened).toBe(7);
});

test("an engine takes what is remembered, and its logits are the same bits", async () => {
  const results: Float32Array[] = [];
  for (const workgroups of [4, 32, 512]) {
    const remembered = memory();
    const recall = async (name: string) => {
      await remembered.recall(name);
      return workgroups;
    };
    const platform = { ...sharingPlatform, memory: { ...remembered, recall } };
    const model = await openModel(SHIPPED_MODEL, nodePlatform.openFile);
    await using engine = await Engine.open(platform, model, { context: 64 });
    const sequence = engine.sequence();
    for (const token of [1, 403, 407, 261]) await engine.step(sequence, [token], 0);
    results.push(await engine.step(sequence, [378], 1));
    expect(remembered.asked).toHaveLength(1);
    expect(remembered.numbers.size).toBe(0);
  }
  expect(results[0]!.some((logit) => logit !== 0)).toBe(true);
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});
