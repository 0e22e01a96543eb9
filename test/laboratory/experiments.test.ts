// Experiments without a command line: how they are followed and stopped. Their figures are checked by the tests of
// the commands that print them.

import { expect, test } from "vitest";
import { Engine, parseAttention } from "../../src/index.ts";
import { attentionMap, firstTokens } from "../../src/laboratory/experiments/attention.ts";
import type { OpenEngine } from "../../src/laboratory/experiments/experiment.ts";
import { compareStreams } from "../../src/laboratory/experiments/stream.ts";
import { fixtureModel } from "../support/models.ts";

const model = fixtureModel("stories260K-F32.gguf");
const ids = [1, 403, 407, 261, 378, 432, 429, 286, 402, 265, 298, 401];

/** A watch that stops at `last`, and what it was told. */
function stopAt(last: number) {
  const controller = new AbortController();
  const told: string[] = [];
  const onProgress = (done: number, total: number) => {
    told.push(`${done} of ${total}`);
    if (done === last) controller.abort();
  };
  return { watch: { onProgress, signal: controller.signal }, told };
}

test("an attention map that is stopped has the queries so far, each with all of its weight", async () => {
  await using engine = await Engine.load(model, {
    chunk: 1,
    attention: { kind: "window", window: 8 },
  });
  const { watch, told } = stopAt(3);
  const map = await attentionMap(engine, ids, { layer: 1, heads: [0, 2] }, watch);
  expect(told).toEqual(["0 of 12", "1 of 12", "2 of 12", "3 of 12"]);
  expect(map.rows.map(({ query }) => query)).toEqual([0, 1, 2]);
  for (const { weights } of map.rows) {
    expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 5);
  }
  expect(map.looks.map((looks) => looks.length)).toEqual([3, 3]);
  expect(firstTokens(map.policy)).toBe(1);
});

test("streams that are stopped have the runs so far, and every engine is closed", async () => {
  const opened: Engine[] = [];
  const open: OpenEngine = async (needed) => {
    opened.push(await Engine.load(model, needed));
    return opened.at(-1)!;
  };
  const modes = ["full", "window:4", "sinks:1+4"].map((name) => ({
    name,
    attention: parseAttention(name),
  }));
  const { watch, told } = stopAt(15);
  const setting = { tokens: 10, parts: 2, every: 1 };
  const runs = await compareStreams(open, ids, modes, setting, watch);
  expect(told.at(-1)).toBe("15 of 30");
  expect(runs.map(({ policy, parts }) => [policy, parts.length])).toEqual([
    ["full", 2],
    ["window:4", 1],
  ]);
  expect(opened.length).toBe(2);
  for (const engine of opened) await expect(engine.complete("Once")).rejects.toThrow(/closed/);
});
