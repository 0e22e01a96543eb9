// Beam search, against one that is written out over whole recomputed texts, and against trying all texts.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Engine, GenerateOptions } from "../../src/index.ts";
import { loadEngine } from "../support/engine.ts";
import { TINY_TOKENS, tinyModel } from "../support/tiny-model.ts";

const file = tinyModel({ seed: 21, heads: 4, kvHeads: 2, context: 96 });
const V = TINY_TOKENS.length;
const EOS = 1;
const PROMPT = [3, 9, 27, 14, 8, 21, 30, 5, 5];

let engine: Engine;
beforeAll(async () => {
  engine = await loadEngine(file.bytes, { pageSize: 4, kv: "f32", cacheTokens: 600 });
});
afterAll(() => engine.close());

/** Log-probabilities [V] after a text, by computing all of it. */
const known = new Map<string, Float64Array>();
async function logProbs(ids: readonly number[]): Promise<Float64Array> {
  const key = ids.join();
  const found = known.get(key);
  if (found) return found;
  let last = new Float64Array();
  await engine.score([...ids, 3], (position, logits) => {
    if (position !== ids.length - 1) return;
    const values = Float64Array.from(logits);
    const most = Math.max(...values);
    const sum = Math.log(values.reduce((s, x) => s + Math.exp(x - most), 0)) + most;
    last = values.map((x) => x - sum);
  });
  known.set(key, last);
  return last;
}

interface Text {
  ids: number[];
  sum: number;
}

/** The definition, written out: no cache, no forks, every text computed from its beginning. */
async function plainSearch(
  prompt: readonly number[],
  { beams = 1, lengthPenalty = 1, maxTokens = 1, ends = true },
) {
  let live: Text[] = [{ ids: [], sum: 0 }];
  const ended: { ids: number[]; score: number }[] = [];
  const end = (ids: number[], sum: number, length: number) => {
    ended.push({ ids, score: sum / length ** lengthPenalty });
    ended.sort((a, b) => b.score - a.score);
    ended.length = Math.min(ended.length, beams);
  };
  for (let length = 1; length <= maxTokens; length++) {
    const all: Text[] = [];
    for (const { ids, sum } of live) {
      const probs = await logProbs([...prompt, ...ids]);
      for (let id = 0; id < V; id++) all.push({ ids: [...ids, id], sum: sum + probs[id]! });
    }
    all.sort((a, b) => b.sum - a.sum);
    live = [];
    for (const [rank, text] of all.slice(0, 2 * beams).entries()) {
      if (ends && text.ids.at(-1) === EOS) {
        if (rank < beams) end(text.ids.slice(0, -1), text.sum, length);
      } else if (live.length < beams) live.push(text);
    }
    const best = Math.max(...live.map(({ sum }) => sum / length ** lengthPenalty));
    if (ended.length === beams && ended.at(-1)!.score >= best) return ended;
  }
  for (const { ids, sum } of live) end(ids, sum, maxTokens);
  return ended;
}

describe("beam search", () => {
  test.each([
    { beams: 1, maxTokens: 12 },
    { beams: 2, maxTokens: 12 },
    { beams: 4, maxTokens: 16 },
    { beams: 4, maxTokens: 16, lengthPenalty: 0 },
    { beams: 5, maxTokens: 9, lengthPenalty: 2 },
    { beams: 3, maxTokens: 10, ends: false },
  ])("finds what its definition finds: %o", async ({ ends = true, ...ask }) => {
    const seen = { ended: 0, forked: 0 };
    for (const first of [4, 7, 11, 19]) {
      const prompt = [first, ...PROMPT];
      const expected = await plainSearch(prompt, { ...ask, ends });
      const options = { ...ask, ignoreEos: !ends, answers: ask.beams };
      const { answers } = await engine.complete(prompt, options);
      expect(answers!.map(({ tokens }) => tokens)).toEqual(expected.map(({ ids }) => ids));
      for (const [i, { score }] of answers!.entries()) {
        // Sums of f32 logits in another order of steps: 1e-6 was seen.
        expect(score).toBeCloseTo(expected[i]!.score, 4);
      }
      seen.ended += answers!.filter(({ finishReason }) => finishReason === "eos").length;
      seen.forked += new Set(answers!.map(({ tokens }) => tokens[0])).size < ask.beams ? 1 : 0;
      expect(engine.usage.pages).toBe(0);
    }
    if (ask.beams > 1) expect(seen.forked).toBeGreaterThan(0);
  });

  test("with as many beams as there are texts finds the likeliest of all texts", async () => {
    // Two tokens: 16 beams keep the 16 likeliest first tokens; the best pair begins with one of them.
    const all: Text[] = [];
    const first = await logProbs(PROMPT);
    for (let a = 0; a < V; a++) {
      const second = await logProbs([...PROMPT, a]);
      for (let b = 0; b < V; b++) all.push({ ids: [a, b], sum: first[a]! + second[b]! });
    }
    all.sort((x, y) => y.sum - x.sum);
    const ask = { beams: 16, maxTokens: 2, ignoreEos: true };
    const { tokens, score } = await engine.complete(PROMPT, ask);
    expect(tokens).toEqual(all[0]!.ids);
    expect(score).toBeCloseTo(all[0]!.sum / 2, 4);
  });

  test("with one beam is greedy decoding, piece by piece", async () => {
    const greedy = { temperature: 0, maxTokens: 20, logprobs: 3 };
    const one = await engine.complete(PROMPT, { maxTokens: 20, beams: 1, logprobs: 3 });
    const plain = await engine.complete(PROMPT, greedy);
    expect(one.tokens).toEqual(plain.tokens);
    expect(one.text).toBe(plain.text);
    expect(one.logprobs.map(({ top }) => top!.map(({ id }) => id))).toEqual(
      plain.logprobs.map(({ top }) => top!.map(({ id }) => id)),
    );
    expect(one.usage).toMatchObject({ promptTokens: 9, generatedTokens: plain.tokens.length });
  });

  test("shares steps with other texts, and pages among its beams", async () => {
    const ask: GenerateOptions = { beams: 4, maxTokens: 14, ignoreEos: true };
    const [alone, other] = [
      await engine.complete(PROMPT, ask),
      await engine.complete([7, 7, 7], { temperature: 0, maxTokens: 14, ignoreEos: true }),
    ];
    const held: number[] = [];
    const watch = setInterval(() => held.push(engine.usage.pages));
    const both = await Promise.all([
      engine.complete(PROMPT, ask),
      engine.complete([7, 7, 7], { temperature: 0, maxTokens: 14, ignoreEos: true }),
      engine.complete([4, ...PROMPT], ask),
    ]);
    clearInterval(watch);
    expect(both[0].tokens).toEqual(alone.tokens);
    expect(both[1].tokens).toEqual(other.tokens);
    // 2 of the prompt and 4 x 4 of the beams, twice; 5 of the other text.
    expect(Math.max(...held)).toBeLessThanOrEqual(2 * (2 + 4 * 4) + 5);
    expect(engine.usage.pages).toBe(0);
  });

  test("under attention that forgets, each beam is as if it were alone", async () => {
    for (const attention of ["window:7", "sinks:2+6"] as const) {
      const ask = { beams: 3, maxTokens: 24, ignoreEos: true, attention, answers: 3 };
      const { answers } = await engine.complete(PROMPT, ask);
      for (const { tokens, logprobs } of answers!) {
        // The log-probabilities that the same text has when it is computed from its beginning.
        const sequence = engine.sequence({ name: "same", ...POLICIES[attention] });
        const text = [...PROMPT, ...tokens];
        for (let i = 0; i < text.length - 1; i++) {
          const wanted = { kind: "logits", rows: 1 } as const;
          const logits = await engine.run({ sequence, tokens: [text[i]!], wanted });
          const at = i - (PROMPT.length - 1);
          if (at < 0) continue;
          const most = Math.max(...logits);
          const sum = Math.log(logits.reduce((s, x) => s + Math.exp(x - most), 0)) + most;
          expect(logits[text[i + 1]!]! - sum).toBeCloseTo(logprobs[at]!.logprob, 4);
        }
        sequence.clear();
      }
    }
    expect(engine.usage.pages).toBe(0);
  });

  test("ends beams at a stop string, and gives none of it", async () => {
    const ask = { maxTokens: 12, ignoreEos: true };
    const one = await engine.complete(PROMPT, { ...ask, beams: 1 });
    const stop = one.text.slice(3, 5);
    const cut = await engine.complete(PROMPT, { ...ask, beams: 1, stop });
    expect([cut.finishReason, cut.stopped]).toEqual(["stop", stop]);
    expect(cut.text).toBe(one.text.slice(0, one.text.indexOf(stop)));
    // Of several beams, too: without the stop string, one of their texts has it.
    const several = { ...ask, beams: 3, answers: 3 };
    const texts = async (options: GenerateOptions) =>
      (await engine.complete(PROMPT, options)).answers!.map(({ text }) => text);
    const [last] = (await texts(several)).map((text) => text.slice(3, 5));
    expect((await texts(several)).some((text) => text.includes(last!))).toBe(true);
    expect((await texts({ ...several, stop: last })).some((text) => text.includes(last!))).toBe(
      false,
    );
  });

  test("that is aborted gives the best so far, and all pages back", async () => {
    const abort = new AbortController();
    const ask = { beams: 4, maxTokens: 60, ignoreEos: true, signal: abort.signal };
    const running = engine.complete(PROMPT, ask);
    setTimeout(() => abort.abort(), 60);
    const { finishReason, tokens } = await running;
    expect(finishReason).toBe("aborted");
    expect(tokens.length).toBeLessThan(60);
    expect(engine.usage.pages).toBe(0);
    expect(engine.usage.requests).toMatchObject({ running: 0, waiting: 0 });
  });

  test.each<[GenerateOptions, RegExp]>([
    [{ beams: 4, temperature: 0.5 }, /leave out temperature/],
    [{ beams: 4, topK: 5, cache: false }, /leave out topK, cache/],
    [{ beams: 2, answers: 3 }, /2 beams give at most 2 answers, not 3/],
    [{ lengthPenalty: 2 }, /give beams, too/],
    [{ beams: 17 }, /beams/],
  ])("refuses %o", (options, message) => {
    expect(() => engine.generate(PROMPT, options)).toThrow(message);
  });

  test("that the cache has no room for is refused", async () => {
    await using small = await loadEngine(file.bytes, { pageSize: 4, kv: "f32", context: 32 });
    await expect(small.complete(PROMPT, { beams: 8, maxTokens: 20 })).rejects.toThrow(/pages/);
  });
});

const POLICIES = {
  "window:7": { sinks: 0, window: 7 },
  "sinks:2+6": { sinks: 2, window: 6 },
} as const;
