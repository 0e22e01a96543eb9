// The model as the summarizer: it continues a prompt, within its context, the same for the same text.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  engineSummarizer,
  instructionBehind,
  summaryWindow,
} from "../../src/engine/tasks/summarizer.ts";
import { UserError } from "../../src/errors.ts";
import { SHIPPED_MODEL } from "../../src/platform/node.ts";
import { loadEngine } from "../support/engine.ts";

const stories = readFileSync(new URL("../fixtures/text/stories.txt", import.meta.url), "utf8");
const engine = await loadEngine(SHIPPED_MODEL, { context: 128 });
const document = stories.slice(0, 1500);
const request = { maxTokens: 12, level: 1, signal: undefined };

test("a summary is the greedy continuation of text and instruction", async () => {
  const prompt = instructionBehind("In short:");
  const summary = await engineSummarizer(engine, { prompt })("The cat sat on a mat.", request);
  const expected = await engine.complete("The cat sat on a mat.\n\nIn short:", {
    temperature: 0,
    maxTokens: 12,
  });
  expect(summary).toBe(expected.text.trim());
  expect(summary).not.toBe("");
  const drawn = engineSummarizer(engine, { prompt, temperature: 2, topK: 0, topP: 1, minP: 0 });
  const texts = [1, 2].map(() => drawn("The cat sat on a mat.", request));
  expect(new Set(await Promise.all(texts)).size).toBe(1); // seeded
  expect(await texts[0]).not.toBe(summary);
});

test("the engine summarises by itself: its windows are what the context has room for", async () => {
  const tree = await engine.summarize(document, { budget: 14 });
  expect(tree.levels.length).toBeGreaterThan(2);
  expect(tree.root.tokens).toBeLessThanOrEqual(14);
  expect(tree.root.end).toBe(engine.tokenizer.encode(document, { addSpecial: false }).length);
  const [first] = tree.levels[0]!;
  const size = summaryWindow(engine, { budget: 14 });
  expect(first!.end).toBe(size);
  // Prompt, window and summary leave no more than the margin for cut words.
  const instruction = engine.tokenize(instructionBehind()("")).length;
  expect(128 - instruction - size - 14).toBe(16);
  expect(await engine.summarize(document, { budget: 14 })).toEqual(tree);
});

test("any summarizer may take the model's place, and windows may then be of any size", async () => {
  const options = { size: 400, budget: 10, summarizer: async () => "mine" };
  const { root, levels } = await engine.summarize(document, options);
  expect(root.text).toMatch(/^mine(\nmine)*$/);
  expect(levels[0]![0]!.end).toBe(400);
});

test("a window that the model cannot take is refused before any work", async () => {
  const ask = (size: number) => engine.summarize(document, { size, budget: 30 });
  await expect(ask(100)).rejects.toThrow(UserError);
  await expect(ask(100)).rejects.toThrow(
    /^A window of 100 tokens and its summary of 24 do not fit the \d+ tokens .* at most \d+\.$/,
  );
  const setting = { ...engine.setting, context: 30 };
  const { tokenizer, config, samplingDefaults } = engine;
  expect(() =>
    summaryWindow({ tokenizer, config, setting, samplingDefaults }, { budget: 30 }),
  ).toThrow(
    /^A context of 30 tokens has no room for a text to summarise and its summary beside the prompt: load/,
  );
});

test("a signal ends it in the middle of a summary", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const summary = engineSummarizer(engine, { ignoreEos: true });
  setTimeout(() => controller.abort(), 20);
  const result = summary("Once upon a time", { maxTokens: 80, level: 1, signal });
  await expect(result).rejects.toMatchObject({ name: "AbortError" });
  expect(engine.usage.pages).toBe(0);
});
