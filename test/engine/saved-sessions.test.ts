// Texts that are saved with their pages and taken up by another engine, against the same texts computed anew.

import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LAST_LOGITS } from "../../src/engine/run/step.ts";
import { prefill } from "../../src/engine/tasks/prefill.ts";
import {
  type Engine,
  type EngineOptions,
  type Message,
  type Sequence,
  SessionFileError,
} from "../../src/index.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { loadEngine, losableEngine } from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";
import { tinyModel } from "../support/tiny-model.ts";

const model = tinyModel({ seed: 31, heads: 4, kvHeads: 2, context: 400 });
const sliding = tinyModel({ seed: 13, context: 400, slidingWindow: 12, slidingPattern: 2 });
const wide = tinyModel({ seed: 12, width: 64, heads: 2, kvHeads: 1, headWidth: 32, context: 400 });

/** Steps of at most 16 rows, which are summed alike: logits are compared to the bit. */
const SETTING = { pageSize: 4, kv: "f32", chunk: 16, context: 400 } as const;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dawnstream-sessions-"));
});
afterAll(() => rm(folder, { recursive: true }));
const file = (name: string) => join(folder, name);

function textOf(seed: number, length: number): number[] {
  return Array.from({ length }, (_, i) => 2 + ((seed * 31 + i * i * 7 + i) % 30));
}

/** The greedy tokens that follow, one a step. */
async function next(engine: Engine, sequence: Sequence, first: number, count: number) {
  const ids: number[] = [];
  for (let id = first; ids.length < count; ) {
    const logits = await engine.run({ sequence, tokens: [id], wanted: LAST_LOGITS });
    id = logits.indexOf(Math.max(...logits));
    ids.push(id);
  }
  return ids;
}

describe("a saved sequence", () => {
  test.each<[string, Uint8Array, EngineOptions]>([
    ["full attention", model.bytes, {}],
    ["sinks", model.bytes, { attention: "sinks:3+20" }],
    ["windows of the model's own", sliding.bytes, {}],
    ["q8_0, raw keys", wide.bytes, { kv: "q8_0", keys: "raw" }],
    ["pages of 16, f16, YaRN", model.bytes, { pageSize: 16, kv: "f16", rope: "yarn:4" }],
    ["dynamic NTK", model.bytes, { rope: "dynamic-ntk:2" }],
  ])("goes on for 256 tokens as if it had not been: %s", async (name, bytes, options) => {
    const path = file(`${name}.session`);
    await using before = await loadEngine(bytes, { ...SETTING, ...options });
    const prompt = textOf(1, 70);
    const sequence = before.sequence();
    await prefill(before, sequence, prompt, LAST_LOGITS);
    await before.saveSession(path, sequence);
    const expected = await next(before, sequence, 7, 256);

    await using after = await loadEngine(bytes, { ...SETTING, ...options });
    const opened = await after.openSession(path);
    expect(opened.messages).toBeUndefined();
    expect(opened.sequence!.ids).toEqual(prompt);
    expect(await next(after, opened.sequence!, 7, 256)).toEqual(expected);
    opened.sequence!.clear();
    expect(after.usage.pages).toBe(0);
  });

  test("takes at most 1.1 times the bytes of its pages", async () => {
    await using engine = await loadEngine(fixtureModel("stories260K-F32.gguf"), {});
    const sequence = engine.sequence();
    const { heads, kvHeads, headWidth, layers } = engine.config;
    expect(heads).toBeGreaterThan(0);
    await prefill(engine, sequence, textOf(2, 300), LAST_LOGITS);
    await engine.saveSession(file("size"), sequence);
    const pages = Math.ceil(300 / 16) * layers * 2 * kvHeads * headWidth * 16 * 2;
    expect((await stat(file("size"))).size).toBeLessThan(1.1 * pages);
  });

  test("is found by requests that begin with its text", async () => {
    await using before = await loadEngine(model.bytes, SETTING);
    const prompt = textOf(3, 90);
    const kept = before.prefixCache();
    const ask = { temperature: 0, ignoreEos: true, maxTokens: 12, prefixCache: kept };
    const { tokens } = await before.complete(prompt, ask);
    await before.saveSession(file("kept"), kept);
    const more = [...prompt, ...tokens, 5, 6, 7];
    const expected = await before.complete(more, ask);

    await using after = await loadEngine(model.bytes, SETTING);
    const { sequence } = await after.openSession(file("kept"));
    expect(sequence!.ids).toEqual([...prompt, ...tokens]); // the last was chosen, not computed
    expect(sequence!.length).toBe(101);
    sequence!.clear(); // its whole pages stay in the cache
    const found = await after.complete(more, { ...ask, prefixCache: undefined });
    expect(found.tokens).toEqual(expected.tokens);
    expect(found.usage.cachedTokens).toBe(100);
  });

  test("is what it was when the saving began, whatever happens to the text meanwhile", async () => {
    await using engine = await loadEngine(model.bytes, SETTING);
    const sequence = engine.sequence();
    await prefill(engine, sequence, textOf(4, 30), LAST_LOGITS);
    const saving = engine.saveSession(file("meanwhile"), sequence);
    await next(engine, sequence, 9, 20);
    sequence.clear();
    await saving;
    const { sequence: opened } = await engine.openSession(file("meanwhile"));
    const found = await next(engine, opened!, 11, 20);
    const anew = engine.sequence();
    await prefill(engine, anew, textOf(4, 30), LAST_LOGITS);
    expect(opened!.ids.slice(0, 31)).toEqual([...textOf(4, 30), 11]);
    expect(found).toEqual(await next(engine, anew, 11, 20));
  });

  test("whose device was lost keeps its tokens, and is computed again", async () => {
    await using engine = await loadEngine(model.bytes, SETTING);
    const sequence = engine.sequence();
    await prefill(engine, sequence, textOf(5, 20), LAST_LOGITS);
    const expected = await next(engine, sequence.fork(), 9, 6);
    sequence.discard(); // as after a loss
    await engine.saveSession(file("lost"), sequence);
    const { sequence: opened } = await engine.openSession(file("lost"));
    expect([opened!.ids.length, opened!.length]).toEqual([20, 0]);
    expect(await next(engine, opened!, 9, 6)).toEqual(expected);
  });
});

describe("a device that is lost", () => {
  test("while a sequence is saved leaves its tokens, and no page of another text", async () => {
    let ready = () => {};
    const isReady = new Promise<void>((resolve) => {
      ready = resolve;
    });
    let asked = () => {};
    const isAsked = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const createFile = async (path: string) => {
      asked();
      await isReady;
      return nodePlatform.createFile(path);
    };
    const { engine, lose } = await losableEngine(model.bytes, SETTING, { createFile });
    const sequence = engine.sequence();
    await prefill(engine, sequence, textOf(8, 40), LAST_LOGITS);
    const saving = engine.saveSession(file("around"), sequence);
    await isAsked;
    lose();
    // Another text takes the same pages on the next device.
    await engine.complete(textOf(9, 60), { temperature: 0, maxTokens: 4, ignoreEos: true });
    ready();
    await saving;
    await using after = await loadEngine(model.bytes, SETTING);
    const { sequence: opened } = await after.openSession(file("around"));
    expect([opened!.ids.length, opened!.length]).toEqual([40, 0]);
    const anew = after.sequence();
    await prefill(after, anew, textOf(8, 40), LAST_LOGITS);
    expect(await next(after, opened!, 5, 10)).toEqual(await next(after, anew, 5, 10));
  });

  test("and not missed yet: sessions are saved and opened with their tokens", async () => {
    const { engine, lose } = await losableEngine(model.bytes, SETTING);
    const sequence = engine.sequence();
    await prefill(engine, sequence, textOf(8, 40), LAST_LOGITS);
    await engine.saveSession(file("before"), sequence);
    lose();
    await new Promise((resolve) => setTimeout(resolve, 20)); // the loss is told
    await engine.saveSession(file("lost now"), sequence);
    for (const name of ["before", "lost now"]) {
      const { sequence: opened } = await engine.openSession(file(name));
      expect([opened!.ids.length, opened!.length]).toEqual([40, 0]);
      const anew = engine.sequence();
      await prefill(engine, anew, textOf(8, 40), LAST_LOGITS);
      expect(await next(engine, opened!, 5, 6)).toEqual(await next(engine, anew, 5, 6));
    }
  });
});

test("what a generation is about to change is not saved", async () => {
  await using engine = await loadEngine(model.bytes, SETTING);
  const kept = engine.prefixCache();
  const ask = { temperature: 0, maxTokens: 30, ignoreEos: true, prefixCache: kept };
  await engine.complete(textOf(3, 20), ask);
  const running = engine.generate(textOf(3, 24), ask);
  await running.next();
  await expect(engine.saveSession(file("in use"), kept)).rejects.toThrow(/in use/);
  await running.result;
  await engine.saveSession(file("in use"), kept);
});

/** Fewer in CI, for time. */
const OPERATIONS = process.env.CI ? 500 : 2000;

test(`${OPERATIONS} operations on sessions give what recomputation gives`, {
  timeout: 600_000,
}, async () => {
  const setting = { ...SETTING, cacheTokens: 2400 };
  await using engine = await loadEngine(model.bytes, setting);
  await using oracle = await loadEngine(model.bytes, { ...setting, prefixes: false });
  const operation = fc.record({
    do: fc.constantFrom("go on", "go on", "cut", "fork", "save", "open", "generate", "end"),
    text: fc.nat(9),
    ids: fc.array(fc.integer({ min: 2, max: 31 }), { minLength: 1, maxLength: 14 }),
    keep: fc.nat(60),
  });
  const [operations] = fc.sample(
    fc.array(operation, { minLength: OPERATIONS, maxLength: OPERATIONS, size: "max" }),
    { numRuns: 1, seed: 41 },
  );
  const texts: Sequence[] = [];
  const saved = new Map<string, readonly number[]>();
  const seen = { compared: 0, opened: 0 };
  for (const { do: verb, text: at, ids, keep } of operations!) {
    const text = texts[at % Math.max(1, texts.length)];
    if (verb === "go on" || !text) {
      const sequence = text && text.length < 80 ? text : engine.sequence();
      if (sequence !== text) texts.push(sequence);
      const found = await prefill(engine, sequence, ids, LAST_LOGITS);
      const anew = oracle.sequence();
      expect(found).toEqual(await prefill(oracle, anew, sequence.ids, LAST_LOGITS));
      anew.clear();
      seen.compared++;
    } else if (verb === "cut") text.truncate(Math.min(keep, text.length));
    else if (verb === "fork") texts.push(text.fork());
    else if (verb === "save") {
      const path = file(`operations-${at}`);
      await engine.saveSession(path, text);
      saved.set(path, [...text.ids]);
    } else if (verb === "open" && saved.has(file(`operations-${at}`))) {
      const { sequence } = await engine.openSession(file(`operations-${at}`));
      expect(sequence!.ids).toEqual(saved.get(file(`operations-${at}`)));
      texts.push(sequence!);
      seen.opened++;
    } else if (verb === "generate" && text.length > 0) {
      const ask = { temperature: 0, ignoreEos: true, maxTokens: 5, logprobs: 1 };
      const found = await engine.complete(text.ids, ask);
      const expected = await oracle.complete(text.ids, ask);
      expect([found.tokens, found.logprobs]).toEqual([expected.tokens, expected.logprobs]);
      seen.compared++;
    } else if (verb === "end") {
      text.clear();
      texts.splice(texts.indexOf(text), 1);
    }
    if (texts.length > 9) texts.shift()!.clear();
  }
  for (const text of texts) text.clear();
  expect(engine.usage.pages).toBe(0);
  expect(seen.compared).toBeGreaterThan(OPERATIONS / 4);
  expect(seen.opened).toBeGreaterThan(OPERATIONS / 25);
});

describe("a file of another make", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await loadEngine(model.bytes, SETTING);
    const sequence = engine.sequence();
    await prefill(engine, sequence, textOf(6, 60), LAST_LOGITS);
    await engine.saveSession(file("made"), sequence);
    sequence.clear();
  });

  test.each<[string, Uint8Array, EngineOptions, RegExp]>([
    [
      "other weights",
      tinyModel({ seed: 32, heads: 4, kvHeads: 2, context: 400 }).bytes,
      {},
      /weights/,
    ],
    ["another rotation", model.bytes, { rope: "linear:2" }, /RoPE scaling/],
    ["another base", model.bytes, { ropeFreqBase: 20000 }, /RoPE scaling/],
    ["another policy", model.bytes, { attention: "window:20" }, /attention policy/],
    ["other kinds of numbers", model.bytes, { kv: "f16" }, /kv f32/],
    ["another page size", model.bytes, { pageSize: 8 }, /pageSize 4/],
    ["keys stored otherwise", model.bytes, { keys: "raw" }, /keys rotated/],
    ["too short a context", model.bytes, { context: 40, chunk: 16 }, /context of 40/],
  ])("is refused: %s", async (_, bytes, options, message) => {
    await using other = await loadEngine(bytes, { ...SETTING, ...options });
    await expect(other.openSession(file("made"))).rejects.toThrow(SessionFileError);
    await expect(other.openSession(file("made"))).rejects.toThrow(message);
    expect(other.usage.pages).toBe(0);
  });

  test("with a larger context is the same text", async () => {
    await using other = await loadEngine(model.bytes, { ...SETTING, context: 800 });
    const { sequence } = await other.openSession(file("made"));
    expect(sequence!.length).toBe(60);
  });

  test("is refused if the cache has no room, which stays as it is", async () => {
    await using small = await loadEngine(model.bytes, { ...SETTING, context: 64 });
    const own = small.sequence();
    await prefill(small, own, textOf(7, 20), LAST_LOGITS);
    await expect(small.openSession(file("made"))).rejects.toThrow(/The cache is full/);
    expect(small.usage.pages).toBe(5);
  });

  test("400 damaged files give an error of their own each, and leave nothing behind", async () => {
    const bytes = new Uint8Array(await readFile(file("made")));
    const before = engine.usage;
    let state = 7;
    const random = (below: number) => {
      state = (state * 1103515245 + 12345) % 2 ** 31;
      return Math.floor((state / 2 ** 31) * below);
    };
    for (let i = 0; i < 400; i++) {
      let damaged = bytes.slice();
      if (i % 4 === 0) damaged = damaged.slice(0, random(bytes.length));
      else if (i % 4 === 1) damaged[random(bytes.length)]! ^= 1 << random(8);
      else if (i % 4 === 2)
        damaged.fill(random(256) ^ 0x55, random(bytes.length / 2), bytes.length);
      else damaged[random(600)]! ^= 1 + random(255); // the header
      await writeFile(file("damaged"), damaged);
      await expect(engine.openSession(file("damaged")), String(i)).rejects.toThrow(
        SessionFileError,
      );
    }
    const { pages, bytes: memory } = engine.usage;
    expect([pages, memory]).toEqual([before.pages, before.bytes]);
    // And nothing of them is found.
    const { sequence } = await engine.openSession(file("made"));
    expect(sequence!.length).toBe(60);
    sequence!.clear();
  }, 120_000);

  test("a file that is not there, or cannot be written, is one line", async () => {
    await expect(engine.openSession(file("none"))).rejects.toThrow(/none/);
    const sequence = engine.sequence();
    await expect(engine.saveSession(join(folder, "no", "where"), sequence)).rejects.toThrow(
      /Cannot write/,
    );
  });
});

describe("a saved conversation", () => {
  const user = (content: string): Message => ({ role: "user", content });

  test("goes on in another engine with its pages", async () => {
    const path = fixtureModel("stories260K-F32.gguf");
    const setting = { context: 400, kv: "f32", pageSize: 4, chunk: 16 } as const;
    const options = { temperature: 0, maxTokens: 20, ignoreEos: true, template: "chatml" };
    await using before = await loadEngine(path, setting);
    const messages: Message[] = [];
    for (const question of ["Once upon a time", "Who was there?"]) {
      messages.push(user(question));
      messages.push((await before.chat(messages, options).result).message);
    }
    await before.saveSession(file("chat"), messages);
    const asked = [...messages, user("And then?")];
    const expected = await before.chat(asked, options).result;

    await using after = await loadEngine(path, setting);
    const opened = await after.openSession(file("chat"));
    expect(opened).toEqual({ sequence: undefined, messages });
    const found = await after.chat(asked, options).result;
    expect(found.text).toBe(expected.text);
    expect(found.usage).toEqual(expected.usage);
    expect(found.usage.cachedTokens).toBeGreaterThan(60);
    // The messages alone would be tokenized and computed anew.
    await using cold = await loadEngine(path, setting);
    expect((await cold.chat(asked, options).result).usage.cachedTokens).toBe(0);
  });

  test("that is not the one answered last is saved without pages", async () => {
    await using engine = await loadEngine(model.bytes, SETTING);
    const options = { temperature: 0, maxTokens: 30, ignoreEos: true };
    const { message } = await engine.chat([user("hello")], options).result;
    await engine.saveSession(file("answered"), [user("hello"), message]);
    await engine.saveSession(file("another"), [user("good day"), message]);
    const sizes = [await stat(file("answered")), await stat(file("another"))].map(
      ({ size }) => size,
    );
    expect(sizes[0]! - sizes[1]!).toBeGreaterThan(2000);
    const opened = await engine.openSession(file("another"));
    expect(opened.messages).toEqual([user("good day"), message]);
  });

  test("that has not begun is its messages", async () => {
    await using engine = await loadEngine(model.bytes, SETTING);
    await engine.saveSession(file("new"), [user("hello")]);
    expect(await engine.openSession(file("new"))).toEqual({
      sequence: undefined,
      messages: [user("hello")],
    });
  });
});
