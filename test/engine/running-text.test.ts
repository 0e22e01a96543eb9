// The result of a text, with a loop over its pieces, without one, and with one that is left.

import { expect, test } from "vitest";
import { type Message, UserError } from "../../src/index.ts";
import { loadEngine } from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";

const engine = await loadEngine(fixtureModel("stories260K-F32.gguf"), { context: 256, kv: "f32" });
const GREEDY = { maxTokens: 12, temperature: 0 };
const CONVERSATION: Message[] = [{ role: "user", content: "Once upon a time" }];
const ANSWERED: Message[] = [{ role: "assistant", content: "There was a dog." }];

test("the result is the same with a loop, without one, asked for before it, and between two pieces", async () => {
  const expected = await engine.complete("Once upon a time", GREEDY);
  expect(expected.tokens).toHaveLength(12);

  const early = engine.generate("Once upon a time", GREEDY);
  const promised = early.result;
  let text = "";
  for await (const piece of early) text += piece.text;
  expect(text).toBe(expected.text);
  expect((await promised).tokens).toEqual(expected.tokens);

  const late = engine.generate("Once upon a time", GREEDY);
  for await (const _ of late);
  expect((await late.result).text).toBe(expected.text);

  const between = engine.generate("Once upon a time", GREEDY);
  text = (await between.next()).value.text as string;
  expect((await between.result).text).toBe(expected.text);
  for await (const piece of between) text += piece.text; // what the result has run past
  expect(text).toBe(expected.text);
});

test("a conversation keeps its answer, with or without a loop", async () => {
  const { message, usage } = await engine.chat(CONVERSATION, GREEDY).result;
  const answer = engine.chat(CONVERSATION, GREEDY);
  let content = "";
  for await (const { text } of answer) content += text;
  expect(message).toEqual({ role: "assistant", content });
  expect((await answer.result).message).toEqual(message);
  expect(usage.generatedTokens).toBe(12);
});

test("a loop that is left keeps what was said, and the next turn goes on from it", async () => {
  const answer = engine.chat(CONVERSATION, { ...GREEDY, maxTokens: 100 });
  let said = "";
  let pieces = 0;
  for await (const { text } of answer) {
    said += text;
    if (++pieces === 5) break;
  }
  const { message, finishReason, usage } = await answer.result;
  expect(finishReason).toBe("aborted");
  expect(usage.generatedTokens).toBe(5);
  expect(message.content).toBe(said);
  expect(await answer.next()).toEqual({ done: true, value: undefined });
  const next: Message[] = [...CONVERSATION, message, { role: "user", content: "And then?" }];
  const { usage: again } = await engine.chat(next, GREEDY).result;
  expect(again.cachedTokens).toBeGreaterThanOrEqual(usage.promptTokens + 4);
});

test("a failure is the loop's and the result's, and unhandled for neither", async () => {
  const unhandled: unknown[] = [];
  const onUnhandled = (error: unknown) => unhandled.push(error);
  process.on("unhandledRejection", onUnhandled);
  try {
    const failing = engine.chat(ANSWERED, GREEDY);
    await expect(failing.next()).rejects.toThrow(UserError);
    await expect(failing.result).rejects.toThrow("the last message must be the user's");
    await expect(engine.chat(ANSWERED).result).rejects.toThrow(UserError);
    await expect(engine.chat(ANSWERED).next()).rejects.toThrow(UserError); // its result is not looked at
    const never = engine.generate("Once", GREEDY);
    await never[Symbol.asyncDispose]();
    await expect(never.result).rejects.toThrow("before its first piece");
    await new Promise((resolve) => setTimeout(resolve, 20));
  } finally {
    process.off("unhandledRejection", onUnhandled);
  }
  expect(unhandled).toEqual([]);
});
