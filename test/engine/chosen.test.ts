// Tokens that never leave the GPU between two steps: the same text, token for token, as step by step.

import { describe, expect, test } from "vitest";
import type { Sequence } from "../../src/context/cache/sequence.ts";
import { Engine } from "../../src/engine/engine.ts";
import { chosenTokens } from "../../src/engine/generation/chosen-tokens.ts";
import type { Eviction } from "../../src/engine/generation/evictions.ts";
import { openModel } from "../../src/engine/model/open.ts";
import type { EngineOptions } from "../../src/engine/options.ts";
import type { Platform } from "../../src/engine/run/session.ts";
import type { StepRunner } from "../../src/engine/run/step.ts";
import { openFile } from "../../src/platform/file.ts";
import { sharingPlatform, withMethods } from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";

const file = fixtureModel("stories260K-F32.gguf");
const PROMPT = "Once upon a time";

/** An engine that takes its adapter for a graphics card: two steps ahead, where a software adapter takes one. */
async function load(isFallbackAdapter: boolean, options: EngineOptions = {}): Promise<Engine> {
  const requestAdapter: Platform["requestAdapter"] = async (gpu) => {
    const adapter = await sharingPlatform.requestAdapter(gpu);
    return withMethods(adapter, { info: withMethods(adapter.info, { isFallbackAdapter }) });
  };
  const model = await openModel(file, openFile);
  return Engine.open({ ...sharingPlatform, requestAdapter }, model, options);
}

describe.each([
  ["a software adapter, one step at a time", true],
  ["a graphics card, two steps ahead", false],
])("on %s", (_, software) => {
  test("texts, log-probabilities and evictions are those of step by step", async () => {
    const attention = { kind: "sinks", sinks: 3, window: 10 } as const;
    await using engine = await load(software, { attention, pageSize: 4, context: 64 });
    const run = async (options: object) => {
      const evictions: Eviction[] = [];
      const onEvict = (eviction: Eviction) => void evictions.push(eviction);
      const ask = { temperature: 0, ignoreEos: true, maxTokens: 80, onEvict, ...options };
      return { ...(await engine.complete(PROMPT, ask)), evictions };
    };
    const ahead = await run({});
    // Whoever asks for the likeliest tokens gets them from the host, step by step.
    const steps = await run({ logprobs: 1 });
    expect(ahead.tokens.length).toBe(80);
    expect(ahead.tokens).toEqual(steps.tokens);
    expect(ahead.text).toBe(steps.text);
    const byPositions = ({ evictions }: typeof ahead) =>
      evictions.map(({ positions, tokens }) => ({ positions, tokens }));
    expect(byPositions(ahead)).toEqual(byPositions(steps));
    // Drawn on the GPU and drawn on the host, from the same noise.
    const drawn = { temperature: 1.2, topK: 0, topP: 1, minP: 0, seed: 2 ** 40 + 3 };
    const texts = await Promise.all([run(drawn), run({ ...drawn, logprobs: 1 })]);
    expect(texts[0].tokens).toEqual(texts[1].tokens);
    expect(texts[0].tokens).not.toEqual(ahead.tokens);
    expect(ahead.evictions.length).toBeGreaterThan(10);
    ahead.logprobs.forEach(({ logprob }, i) => {
      // Sums of 512 exponentials in f32 against f64.
      expect(Math.abs(logprob - steps.logprobs[i]!.logprob)).toBeLessThan(1e-5);
    });
    expect(engine.usage.pages).toBe(0);
  });

  test("a text ends where it would, whatever was submitted beyond", async () => {
    await using engine = await load(software, { context: 100 });
    const ask = { temperature: 0, ignoreEos: true } as const;
    const whole = await engine.complete(PROMPT, { ...ask, maxTokens: 40 });
    for (const maxTokens of [1, 2, 3]) {
      const { tokens, finishReason } = await engine.complete(PROMPT, { ...ask, maxTokens });
      expect(tokens).toEqual(whole.tokens.slice(0, maxTokens));
      expect(finishReason).toBe("length");
    }
    const stop = whole.text.slice(20, 26);
    const stopped = await engine.complete(PROMPT, { ...ask, maxTokens: 40, stop: [stop] });
    expect(stopped.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)));
    expect(stopped.finishReason).toBe("stop");

    const controller = new AbortController();
    const aborted: number[] = [];
    const options = { ...ask, maxTokens: 40, signal: controller.signal };
    for await (const { id } of engine.generate(PROMPT, options)) {
      aborted.push(id);
      if (aborted.length === 5) controller.abort();
    }
    expect(aborted).toEqual(whole.tokens.slice(0, 5));
    expect(engine.usage.pages).toBe(0);
    // To the last place of the context, and not a step beyond.
    const room = 100 - whole.usage.promptTokens;
    const full = await engine.complete(PROMPT, { ...ask, maxTokens: room });
    expect(full.tokens.length).toBe(room);
  });

  test("an engine that is closed gives the token on its way, and then says so", async () => {
    const engine = await load(software, { context: 64 });
    const generation = engine.generate(PROMPT, { temperature: 0, ignoreEos: true, maxTokens: 20 });
    for (let i = 0; i < 3; i++) await generation.next();
    const onItsWay = generation.next();
    await engine.close();
    expect((await onItsWay).done).toBe(false);
    const rest = async () => {
      for await (const _ of generation);
    };
    await expect(rest()).rejects.toThrow("The engine is closed");
  });

  test("texts that take turns are what they are alone", async () => {
    await using engine = await load(software, { context: 64, cacheTokens: 192 });
    const ask = { temperature: 0, ignoreEos: true, maxTokens: 20 } as const;
    const prompts = ["Once upon a time", "The cat sat", "One day a girl"];
    const alone = [];
    for (const prompt of prompts) alone.push((await engine.complete(prompt, ask)).tokens);
    const together = await Promise.all(prompts.map((prompt) => engine.complete(prompt, ask)));
    expect(together.map(({ tokens }) => tokens)).toEqual(alone);
    // One that is scored in between writes its own tokens where the next one of the other would lie.
    const generation = engine.generate(prompts[0]!, ask);
    const ids: number[] = [];
    for await (const { id } of generation) {
      ids.push(id);
      if (ids.length % 5 === 0) await engine.score([1, 300, 301]);
    }
    expect(ids).toEqual(alone[0]);
  });
});

test("no more steps are submitted than were asked for, and no more ahead than may be", async () => {
  const sequence = { ids: [4, 5, 6] as readonly number[] } as Sequence;
  const seen: number[] = [];
  let given = 0;
  const run = async ({ tokens }: { tokens: readonly number[] | Promise<number> }) => {
    const last = "length" in tokens ? Promise.resolve(tokens[0]!) : tokens;
    const choice = last.then((id) => ({ id: id + 1, logprob: 0 }));
    seen.push(seen.length + 1 - given);
    return { choice, token: choice.then(({ id }) => id) };
  };
  const model = { run } as unknown as StepRunner;
  const asked = { draw: { temperature: 0, seed: 0 }, first: 7, budget: 5, ahead: 2 };
  const ids: number[] = [];
  for await (const { id } of chosenTokens(model, sequence, asked)) {
    given++;
    ids.push(id);
  }
  expect(ids).toEqual([8, 9, 10, 11, 12]);
  expect(seen.length).toBe(5);
  expect(Math.max(...seen)).toBe(2);
});
