// From a prompt to text: what ends it, what is streamed, what is chosen, and what is refused before any work.

import { beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import type { GenerateOptions } from "../../src/engine/generation/generation-request.ts";
import type { GenerationResult, Piece } from "../../src/engine/generation/generation-result.ts";
import { logSoftmax } from "../../src/engine/sampler/sampler.ts";
import { ContextOverflowError, UserError } from "../../src/index.ts";
import { loadEngine, step } from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";
import { TINY_TOKENS, tinyModel } from "../support/tiny-model.ts";

const PROMPT = "Once upon a time";
const GREEDY = { temperature: 0, maxTokens: 40 } as const;

let engine: Engine;
let plain: GenerationResult;
beforeAll(async () => {
  const path = fixtureModel("stories260K-F32.gguf");
  engine = await loadEngine(path, { context: 128, cacheTokens: 256 });
  plain = await engine.complete(PROMPT, GREEDY);
});

async function stream(prompt: string | number[], options: GenerateOptions) {
  const pieces: Piece[] = [];
  const generation = engine.generate(prompt, options);
  for (;;) {
    const { done, value } = await generation.next();
    if (done) return { pieces, text: pieces.map((piece) => piece.text).join(""), result: value };
    pieces.push(value);
  }
}

test("the streamed pieces, joined, are the text", async () => {
  const { text, pieces, result } = await stream(PROMPT, GREEDY);
  expect(text).toBe(result.text);
  expect(result.text).toBe(plain.text);
  expect(pieces.map(({ id }) => id)).toEqual(result.tokens);
  expect(result).toMatchObject({
    finishReason: "length",
    usage: { promptTokens: 5 },
    stopped: undefined,
  });
  expect(engine.detokenize([...engine.tokenize(PROMPT), ...result.tokens])).toBe(PROMPT + text);
});

test("characters of several tokens are streamed whole, and ended where they were not", async () => {
  // Bytes of "é" and half of "🙂", forced by bias in turn, are tokens of their own.
  const bytes = [...new TextEncoder().encode("é🙂")].slice(0, 4);
  const ids = bytes.map((byte) => engine.tokenizer.vocabulary.idOfByte(byte)!);
  let text = "";
  const decoder = engine.tokenizer.decoder({ continuation: true });
  const parts = ids.map((id) => decoder.push(id));
  expect(parts).toEqual(["", "é", "", ""]);
  text = parts.join("") + decoder.flush();
  expect(text).toBe("é\ufffd");
  // The same through generation: nothing but the first byte of "é" is allowed, and it is never finished.
  const only = new Map([[ids[0]!, 1e9]]);
  const { pieces, result } = await stream(PROMPT, { ...GREEDY, maxTokens: 1, logitBias: only });
  expect(result.tokens).toEqual([ids[0]]);
  expect(pieces.map((piece) => piece.text)).toEqual(["", "\ufffd"]);
  expect(result.text).toBe("\ufffd");
});

test("text ends before a stop string, wherever tokens are cut", async () => {
  for (const [from, to] of [
    [3, 9],
    [10, 13],
    [17, 40],
    [0, 1],
  ] as const) {
    const stop = plain.text.slice(from, to);
    const { text, result } = await stream(PROMPT, { ...GREEDY, stop: ["never this", stop] });
    expect(result).toMatchObject({ finishReason: "stop", stopped: stop });
    expect(result.text).toBe(plain.text.slice(0, plain.text.indexOf(stop)));
    expect(text).toBe(result.text);
    expect(result.tokens).toEqual(plain.tokens.slice(0, result.tokens.length));
  }
  // One that only begins is held back, and given out at the end.
  const stop = `${plain.text.slice(-4)}!!!`;
  const { text, result } = await stream(PROMPT, { ...GREEDY, stop: [stop] });
  expect(result.finishReason).toBe("length");
  expect(text).toBe(plain.text);
});

test("an end-of-generation token ends the text and is not shown; ignoreEos goes on", async () => {
  const eos = engine.tokenizer.vocabulary.eos!;
  const logitBias = new Map([[eos, 1e9]]);
  const ended = await engine.complete(PROMPT, { ...GREEDY, logitBias });
  expect(ended).toMatchObject({ finishReason: "eos", text: "", tokens: [] });
  const ignored = await engine.complete(PROMPT, {
    ...GREEDY,
    maxTokens: 3,
    logitBias,
    ignoreEos: true,
  });
  expect(ignored).toMatchObject({ finishReason: "length", text: "", tokens: [eos, eos, eos] });
});

test("a banned token is never chosen, all banned are refused", async () => {
  const bans = new Map(plain.tokens.map((id) => [id, Number.NEGATIVE_INFINITY]));
  const { tokens } = await engine.complete(PROMPT, { ...GREEDY, logitBias: bans });
  expect(tokens.length).toBe(40);
  expect(tokens.filter((id) => bans.has(id))).toEqual([]);
  const all = Array.from({ length: engine.config.vocabulary }, (_, id) => id);
  const none = new Map(all.map((id) => [id, Number.NEGATIVE_INFINITY]));
  await expect(engine.complete(PROMPT, { logitBias: none })).rejects.toThrow(UserError);
  expect(engine.usage.pages).toBe(0);
});

test("a seed gives the same text again, another seed another, and the one used is told", async () => {
  const options = { temperature: 1.2, maxTokens: 20 };
  const one = await engine.complete(PROMPT, { ...options, seed: 11 });
  expect(one.seed).toBe(11);
  expect((await engine.complete(PROMPT, { ...options, seed: 11 })).tokens).toEqual(one.tokens);
  expect((await engine.complete(PROMPT, { ...options, seed: 12 })).tokens).not.toEqual(one.tokens);
  const random = await engine.complete(PROMPT, options);
  const again = await engine.complete(PROMPT, { ...options, seed: random.seed });
  expect(again.tokens).toEqual(random.tokens);
});

test("log-probabilities are log-softmax of the logits", async () => {
  const { logprobs, tokens } = await engine.complete(PROMPT, {
    ...GREEDY,
    maxTokens: 5,
    logprobs: 3,
  });
  const ids = engine.tokenize(PROMPT);
  const sequence = engine.sequence();
  let logits = await step(engine, sequence, ids, 1);
  for (const [i, { logprob, top }] of logprobs.entries()) {
    const all = logSoftmax(logits);
    // The sum over 512 numbers is taken on the GPU, in f32.
    expect(logprob).toBeCloseTo(all[tokens[i]!]!, 5);
    const best = [...all.keys()].sort((a, b) => all[b]! - all[a]!).slice(0, 3);
    expect(top!.map(({ id }) => id)).toEqual(best);
    expect(top![0]!.logprob).toBe(logprob); // greedy
    logits = await step(engine, sequence, [tokens[i]!], 1);
  }
  sequence.clear();
  const unasked = await engine.complete(PROMPT, { ...GREEDY, maxTokens: 1 });
  expect(unasked.logprobs[0]).not.toHaveProperty("top");
});

test("an abort ends after the token in work", async () => {
  const controller = new AbortController();
  const generation = engine.generate(PROMPT, { ...GREEDY, signal: controller.signal });
  const first = await generation.next();
  controller.abort();
  const { done, value } = await generation.next();
  expect(done).toBe(true);
  expect(value).toMatchObject({ finishReason: "aborted", tokens: [(first.value as Piece).id] });
});

test("two generations at once are two by themselves", async () => {
  const other = await engine.complete("Tom and Lily", GREEDY);
  const both = await Promise.all([
    engine.complete(PROMPT, GREEDY),
    engine.complete("Tom and Lily", GREEDY),
  ]);
  expect(both.map(({ text }) => text)).toEqual([plain.text, other.text]);
  expect(other.text).not.toBe(plain.text);
  expect(engine.usage.pages).toBe(0);
});

test("token ids are a prompt as they are", async () => {
  const result = await engine.complete(engine.tokenize(PROMPT), GREEDY);
  expect(result.tokens).toEqual(plain.tokens);
});

describe("refused before any work", () => {
  test.each([
    ["an empty prompt", "", {}, /The prompt is empty/],
    ["no ids", [], {}, /The prompt is empty/],
    ["special tokens only", "<s></s>", { parseSpecial: true }, /special tokens only/],
    ["an id beyond the vocabulary", [1, 512], {}, /Token id 512 is none of the model's 512/],
    ["a negative id", [-1], {}, /Token id -1/],
    ["half an id", [1.5], {}, /Token id 1.5/],
    ["no tokens", PROMPT, { maxTokens: 0 }, /maxTokens 0/],
    ["half a token", PROMPT, { maxTokens: 1.5 }, /maxTokens 1.5/],
    ["not a number", PROMPT, { maxTokens: Number.NaN }, /maxTokens NaN/],
    ["an empty stop string", PROMPT, { stop: ["a", ""] }, /stop string is empty/],
    ["a temperature below 0", PROMPT, { temperature: -1 }, /temperature -1/],
    ["a negative number of logprobs", PROMPT, { logprobs: -1 }, /-1/],
  ] as [string, string | number[], GenerateOptions, RegExp][])(
    "%s",
    async (_, prompt, options, message) => {
      const failure = engine.complete(prompt, options);
      await expect(failure).rejects.toThrow(UserError);
      await expect(failure).rejects.toThrow(message);
      expect(engine.usage.pages).toBe(0);
    },
  );

  test("a prompt and an answer that exceed the context, with the three numbers", async () => {
    const failure = engine.complete(PROMPT, { maxTokens: 124 });
    await expect(failure).rejects.toThrow(ContextOverflowError);
    await expect(failure).rejects.toMatchObject({ promptTokens: 5, maxTokens: 124, context: 128 });
    await expect(failure).rejects.toThrow(/5 tokens and 124 .* context of 128.* 129.*window:W/);
    expect((await engine.complete(PROMPT, { ...GREEDY, maxTokens: 123 })).tokens.length).toBe(123);
    const long = Array.from({ length: 128 }, () => 5);
    await expect(engine.complete(long)).rejects.toMatchObject({ promptTokens: 128, maxTokens: 1 });
  });

  test("special tokens spelled in a prompt are text, unless asked for", async () => {
    const result = await engine.complete("<s>", { ...GREEDY, maxTokens: 1 });
    expect(result.usage.promptTokens).toBeGreaterThan(2);
  });
});

test("a text goes on past its context where attention forgets, in the same pages", async () => {
  const attention = { kind: "sinks", sinks: 3, window: 10 } as const;
  const tiny = await loadEngine(tinyModel().bytes, {
    attention,
    context: 16,
    pageSize: 4,
    chunk: 8,
  });
  let most = 0;
  let count = 0;
  const options = { maxTokens: 200, temperature: 0, ignoreEos: true };
  for await (const { id } of tiny.generate([2, 3, 4, 5, 6, 7, 8, 9, 10, 11], options)) {
    expect(id).toBeLessThan(TINY_TOKENS.length);
    most = Math.max(most, tiny.usage.pages);
    count++;
  }
  expect(count).toBe(200);
  // Design 4.3: ceil(S/P) + ceil((W-1)/P) + 1
  expect(most).toBeLessThanOrEqual(Math.ceil(3 / 4) + Math.ceil(9 / 4) + 1);
});
