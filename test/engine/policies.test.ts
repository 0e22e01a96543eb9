// Policies that a text brings itself, a full context that stops or slides, and evictions that are heard.

import { expect, test } from "vitest";
import type { Eviction } from "../../src/engine/generation/evictions.ts";
import { resolveSetting } from "../../src/engine/options.ts";
import {
  type AttentionPolicy,
  ContextOverflowError,
  parseAttention,
  UserError,
} from "../../src/index.ts";
import { loadEngine } from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";

const file = fixtureModel("stories260K-F32.gguf");
const greedy = { temperature: 0, ignoreEos: true } as const;
const PROMPT = "Once upon a time";

test("a policy of a text's own gives what an engine loaded with it gives", async () => {
  const attention = parseAttention("sinks:4+20");
  const loaded = await loadEngine(file, { context: 100, pageSize: 4, attention });
  const full = await loadEngine(file, { context: 100, pageSize: 4 });
  const options = { ...greedy, maxTokens: 200 };
  const expected = await loaded.complete(PROMPT, options);
  expect((await full.complete(PROMPT, { ...options, attention })).tokens).toEqual(expected.tokens);
  // The context of full attention does not bind it, and the next text is under full attention again.
  await expect(full.complete(PROMPT, options)).rejects.toThrow(ContextOverflowError);
});

test("a policy may be any object with sinks and a window, and is checked", async () => {
  const engine = await loadEngine(file, { context: 100, pageSize: 4 });
  const ids = engine.tokenize(PROMPT);
  const keepPrompt: AttentionPolicy = { name: "keep the prompt", sinks: ids.length, window: 20 };
  const named = { kind: "sinks", sinks: ids.length, window: 20 } as const;
  const options = { ...greedy, maxTokens: 120 };
  const own = await engine.complete(ids, { ...options, attention: keepPrompt });
  expect(own.tokens).toEqual((await engine.complete(ids, { ...options, attention: named })).tokens);
  const bad = { name: "nothing", sinks: -1, window: 4 };
  await expect(engine.complete(ids, { ...options, attention: bad })).rejects.toThrow(UserError);
});

test("a policy that needs more than the cache holds is refused before any work", async () => {
  const engine = await loadEngine(file, {
    context: 512,
    pageSize: 4,
    attention: parseAttention("window:16"),
  });
  const attempt = engine.complete(PROMPT, { ...greedy, maxTokens: 8, attention: { kind: "full" } });
  await expect(attempt).rejects.toThrow(
    /Attention full sees more than the cache has room for \(128 pages of \d+\)/,
  );
  expect(engine.usage.pages).toBe(0);
});

test("evictions tell pages, positions and tokens, each once and in order, and never a sink", async () => {
  const engine = await loadEngine(file, {
    context: 64,
    pageSize: 4,
    attention: parseAttention("sinks:3+10"),
  });
  const heard: Eviction[] = [];
  const ids = engine.tokenize(PROMPT);
  const { tokens } = await engine.complete(ids, {
    ...greedy,
    maxTokens: 100,
    onEvict: (eviction) => heard.push(eviction),
  });
  const text = [...ids, ...tokens];
  const positions = heard.flatMap((eviction) => eviction.positions);
  // The last step appends token 103 at position 103 - its query sees back to 94: pages up to position 91 are gone.
  const last = text.length - 2;
  const gone = Math.floor((last - 10 + 1) / 4) * 4;
  expect(positions).toEqual(Array.from({ length: gone - 4 }, (_, i) => 4 + i));
  expect(heard.flatMap((eviction) => eviction.tokens)).toEqual(
    positions.map((position) => text[position]),
  );
  for (const { pages, positions: at } of heard) expect(at.length).toBe(4 * pages.length);
});

test("a full context: refused, ended, or slid with the first tokens kept", async () => {
  const ask = { ...greedy, maxTokens: 150 };
  const refusing = await loadEngine(file, { context: 60 });
  await expect(refusing.complete(PROMPT, ask)).rejects.toThrow(ContextOverflowError);

  const stopping = await loadEngine(file, { context: 60, whenFull: "stop" });
  const stopped = await stopping.complete(PROMPT, ask);
  expect(stopped.usage.promptTokens + stopped.tokens.length).toBe(60);
  expect(stopped.finishReason).toBe("length");

  const sliding = await loadEngine(file, { context: 60, whenFull: { keep: 4 } });
  const slid = await sliding.complete(PROMPT, ask);
  expect(slid.tokens.length).toBe(150);
  expect(slid.tokens.slice(0, stopped.tokens.length)).toEqual(stopped.tokens);
  const sinks = await loadEngine(file, { context: 60, attention: parseAttention("sinks:4+56") });
  expect(slid.tokens).toEqual((await sinks.complete(PROMPT, ask)).tokens);

  // A text's own full attention slides as the engine's does.
  const own = await sliding.complete(PROMPT, { ...ask, attention: "full" });
  expect(own.tokens).toEqual(slid.tokens);

  await expect(loadEngine(file, { context: 60, whenFull: { keep: 60 } })).rejects.toThrow(
    UserError,
  );
});

test("what happens to a full context is refused if it never fills", async () => {
  const { config } = await loadEngine(file, { context: 60 });
  const choices = ["error", "stop", "slide:4", { keep: 4 }] as const;
  for (const whenFull of choices) {
    expect(() => resolveSetting(config, { whenFull, attention: "full" })).not.toThrow();
    for (const attention of ["window:16", "sinks:2+8"] as const) {
      const shown = typeof whenFull === "string" ? whenFull : "slide:4";
      expect(() => resolveSetting(config, { whenFull, attention })).toThrow(
        `Invalid whenFull "${shown}": attention ${attention} forgets, so that a text never fills ` +
          "the context; leave it out, or the attention.",
      );
    }
  }
  // Mistral's own window forgets, too, but the tokens that are kept are seen beyond it.
  const withWindow = (window: number) => ({
    ...config,
    traits: config.traits.map((layer) => ({ ...layer, window })),
  });
  const windowed = withWindow(32);
  for (const whenFull of ["error", "stop"] as const) {
    expect(() => resolveSetting(windowed, { context: 60, whenFull })).toThrow(
      `Invalid whenFull "${whenFull}": the model's own window of 32 forgets`,
    );
  }
  const { policy } = resolveSetting(windowed, { context: 60, whenFull: { keep: 4 } });
  expect(policy).toMatchObject({ sinks: 4, window: 32 });
  // A window that is longer than the context hides nothing: a text ends with the context.
  const long = withWindow(600);
  expect(resolveSetting(long, { context: 60, whenFull: "stop" }).stopsWhenFull).toBe(true);
});
