// Experiments without a command line: how they are followed and stopped. Their figures are checked by the tests of
// the commands that print them.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Engine, parseAttention } from "../../src/index.ts";
import { attentionMap, firstTokens } from "../../src/laboratory/experiments/attention.ts";
import { chunksOf, forChunks, scoreChunks } from "../../src/laboratory/experiments/perplexity.ts";
import { asksOf, compareServing } from "../../src/laboratory/experiments/serving.ts";
import { compareStreams } from "../../src/laboratory/experiments/stream.ts";
import type { OpenEngine } from "../../src/laboratory/experiments/sweep.ts";
import { differences, read, togetherSpeeds } from "../../src/laboratory/experiments/together.ts";
import { quantile } from "../../src/numbers.ts";
import { fixtureModel } from "../support/models.ts";

const model = fixtureModel("stories260K-F32.gguf");
const stories = fileURLToPath(new URL("../fixtures/text/stories.txt", import.meta.url));
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

test("texts that are timed together share every step, after their prompts", async () => {
  const texts: number[] = [];
  await using engine = await Engine.load(model, {
    sequences: 3,
    cacheTokens: 3 * 64,
    onStep: ({ pieces }) => texts.push(pieces.length),
  });
  const { watch, told } = stopAt(2);
  const setting = { texts: [3], at: 20, tokens: 6, rounds: 2 };
  const speeds = await togetherSpeeds(engine, setting, watch);
  expect(texts.filter((count) => count > 1)).toEqual(Array(7).fill(3)); // the last of the prompt, and six more
  expect(told).toEqual(["0 of 4", "1 of 4", "2 of 4"]);
  expect(speeds.map((speed) => [speed.texts, speed.samples.length])).toEqual([
    [1, 1],
    [3, 1],
  ]);
  expect(engine.usage.pages).toBe(0);
});

test("a text that differs from the same alone is told, with the gap of the two best logits there", async () => {
  await using engine = await Engine.load(model);
  const asks = [ids, ids.slice(0, 5)].map((prompt) => ({ prompt, tokens: 6 }));
  const alone = [await read(engine, asks[0]!), await read(engine, asks[1]!)];
  expect(await differences(engine, asks, alone, alone)).toEqual([]);
  const changed = { ...alone[1]!, ids: alone[1]!.ids.with(2, 7) };
  const [found, ...others] = await differences(engine, asks, [alone[0]!, changed], alone);
  expect(others).toEqual([]);
  const sequence = engine.sequence();
  const tokens = [...asks[1]!.prompt, ...alone[1]!.ids.slice(0, 2)];
  const logits = await engine.run({ sequence, tokens, wanted: { kind: "logits", rows: 1 } });
  const [first, second] = logits.toSorted((a, b) => b - a);
  expect(found).toMatchObject({ text: 1, at: 2 });
  expect(found!.gap).toBeCloseTo(first! - second!, 3);
});

test("a mixture has the same requests for the same seed, of lengths within its ranges", async () => {
  const ranges = { prompts: { least: 8, most: 64 }, answers: { least: 64, most: 256 } };
  const asks = asksOf({ requests: 2000, seed: 1, ...ranges }, 50);
  expect(asksOf({ requests: 2000, seed: 1, ...ranges }, 50)).toEqual(asks);
  expect(asksOf({ requests: 2000, seed: 2, ...ranges }, 50)).not.toEqual(asks);
  const extremes = (values: readonly number[]) => [Math.min(...values), Math.max(...values)];
  expect(extremes(asks.map(({ prompt }) => prompt.length))).toEqual([8, 64]);
  expect(extremes(asks.map(({ tokens }) => tokens))).toEqual([64, 256]);
  expect(extremes(asks.flatMap(({ prompt }) => prompt))).toEqual([0, 49]);
});

test("serving that is stopped has no report, and leaves no request behind", async () => {
  await using engine = await Engine.load(model, { sequences: 2 });
  const { watch, told } = stopAt(1);
  const some = { prompts: { least: 2, most: 4 }, answers: { least: 5, most: 9 } };
  expect(await compareServing(engine, { requests: 3, seed: 1, ...some }, watch)).toBeUndefined();
  expect(told.slice(0, 2)).toEqual(["0 of 6", "1 of 6"]);
  expect(engine.usage.requests).toMatchObject({ running: 0, waiting: 0 });
  expect(engine.usage.pages).toBe(0);
});

test("a quantile is the least value that its share of all is not above", () => {
  const values = Array.from({ length: 20 }, (_, i) => 20 - i);
  expect([0, 0.05, 0.06, 0.5, 0.95, 1].map((share) => quantile(values, share))).toEqual([
    1, 1, 2, 10, 19, 20,
  ]);
  expect(quantile([], 0.5)).toBeNaN();
});

test("short chunks of a text share steps, and score as each alone", async () => {
  const steps: number[] = [];
  const path = fixtureModel("stories260K-F32.gguf");
  await using whole = await Engine.load(path, { context: 64 });
  const options = forChunks(whole.config, { context: 64 });
  expect(options).toMatchObject({ chunk: 256, cacheTokens: 4 * 64 });
  expect(forChunks(whole.config, { context: 200 })).toEqual({ context: 200 });
  await using engine = await Engine.load(path, {
    ...options,
    onStep: ({ pieces }) => steps.push(pieces.length),
  });
  const text = readFileSync(stories, "utf8");
  const chunks = [...chunksOf(engine, text, 6), ids.slice(0, 9), ids.slice(0, 7)];
  const told: number[] = [];
  const scored = await scoreChunks(engine, chunks, { onChunk: (done) => told.push(done) });
  expect(steps).toEqual([4, 2, 1, 1]);
  expect(told).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(scored.tokens).toBe(6 * 64 + 9 + 7);
  const alone = [];
  for (const chunk of chunks) alone.push(await whole.score(chunk));
  expect(scored.nll).toEqual(alone.flatMap(({ nll }) => nll)); // to the bit
  expect(scored.argmax).toEqual(alone.flatMap(({ argmax }) => argmax));
});
