// What the command line takes as a text, the API takes too, and it means the same as the object.

import { expect, test } from "vitest";
import { readEngineOptions, resolveSetting } from "../src/engine/options.ts";
import {
  chatTemplateOf,
  conversationMemory,
  type EngineOptions,
  type GenerateOptions,
  largestContext,
  type Message,
} from "../src/index.ts";
import { loadEngine } from "./support/engine.ts";
import { fixtureModel } from "./support/models.ts";

const FILE = fixtureModel("stories260K-F32.gguf");
const engine = await loadEngine(FILE, { context: 256 });
const GREEDY = { temperature: 0, maxTokens: 40 };

test.each<[GenerateOptions, GenerateOptions]>([
  [{ stop: "e" }, { stop: ["e"] }],
  [{ attention: "sinks:2+8" }, { attention: { kind: "sinks", sinks: 2, window: 8 } }],
  [{ attention: "window:8" }, { attention: { name: "mine", sinks: 0, window: 8 } }],
  [{ logitBias: { 432: -10 } }, { logitBias: new Map([[432, -10]]) }],
  [{ logitBias: [[432, -10]] }, { logitBias: new Map([[432, -10]]) }],
])("%o generates as %o", async (short, long) => {
  const [a, b] = [
    await engine.complete("Once upon a time", { ...GREEDY, ...short }),
    await engine.complete("Once upon a time", { ...GREEDY, ...long }),
  ];
  expect(a.tokens).toEqual(b.tokens);
  expect(a.finishReason).toBe(b.finishReason);
  const plain = await engine.complete("Once upon a time", GREEDY);
  expect(a.tokens, "the option does something").not.toEqual(plain.tokens);
});

test.each<[EngineOptions, EngineOptions]>([
  [{ attention: "sinks:4+60" }, { attention: { kind: "sinks", sinks: 4, window: 60 } }],
  [{ whenFull: "slide:4" }, { whenFull: { keep: 4 } }],
  [{ rope: "yarn:4" }, { rope: { kind: "yarn", factor: 4 } }],
  [
    { rope: "yarn:4:2048:fast=16" },
    { rope: { kind: "yarn", factor: 4, original: 2048, betaFast: 16 } },
  ],
  [{ rope: "none" }, { rope: { kind: "none" } }],
])("%o loads as %o", (short, long) => {
  expect(resolveSetting(engine.config, short)).toEqual(resolveSetting(engine.config, long));
});

test("sizes have units", async () => {
  expect(await largestContext(FILE, "4MiB")).toBe(await largestContext(FILE, 4 * 2 ** 20));
  expect(await largestContext(FILE, "4MB")).toBe(await largestContext(FILE, 4e6));
  const limits = { maxBufferSize: "1GiB" };
  expect(readEngineOptions({ device: { limits } }).device).toEqual({
    limits: { maxBufferSize: 2 ** 30 },
  });
});

test("a chat takes a template and a memory by name", async () => {
  const conversation: Message[] = [
    { role: "user", content: "Tell me of Lily." },
    { role: "assistant", content: "She had a ball." },
    { role: "user", content: "And then?" },
  ];
  const ask = async (options: Parameters<typeof engine.chat>[1]) => {
    const answer = engine.chat(conversation, { ...GREEDY, cache: false, ...options });
    for (;;) {
      const { done, value } = await answer.next();
      if (done) return value;
    }
  };
  const { vocabulary } = engine.tokenizer;
  const chatml = chatTemplateOf(vocabulary, "chatml").template;
  const [named, given] = [await ask({ template: "chatml" }), await ask({ template: chatml })];
  expect(named.tokens).toEqual(given.tokens);
  expect(named.usage.promptTokens).not.toBe((await ask({})).usage.promptTokens);

  const turns = conversationMemory({ kind: "turns", turns: 1 });
  for (const memory of ["turns:1", { kind: "turns", turns: 1 }] as const) {
    expect((await ask({ memory })).recollection).toEqual(
      (await ask({ memory: turns })).recollection,
    );
  }
  expect((await ask({ memory: "buffer" })).recollection?.messages.length).toBe(3);
  // One that summarises asks the engine itself.
  expect((await ask({ memory: "summary", maxTokens: 8 })).recollection?.messages).toBeDefined();
});
