// Texts with drafts are those without, token for token and to the bit: no comparison here has a tolerance.

import { beforeAll, describe, expect, test } from "vitest";
import type {
  Engine,
  EngineOptions,
  GenerateOptions,
  StepReport,
  TokenLogprob,
  TopLogits,
} from "../../../src/index.ts";
import { loadEngine } from "../../support/engine.ts";
import { writeGguf } from "../../support/gguf-writer.ts";
import { fixtureModel } from "../../support/models.ts";
import { tinyModel } from "../../support/tiny-model.ts";

const large = tinyModel({ seed: 31, layers: 2, context: 160 });
const small = tinyModel({ seed: 32, layers: 1, context: 160 });
/** Each text is computed anew, with drafts and without. */
const SMALL: EngineOptions = { kv: "f32", chunk: 48, context: 160, prefixes: false };

/** Ids that repeat themselves now and then. */
function promptOf(seed: number, length: number): number[] {
  return Array.from({ length }, (_, i) => 2 + ((seed + (i % 11) * 7) % 25));
}

let drafting: Engine;
beforeAll(async () => {
  drafting = await loadEngine(small.bytes, SMALL);
});

/** What there is to compare of a text. */
async function complete(engine: Engine, prompt: string | readonly number[], o: GenerateOptions) {
  const all = await engine.complete(prompt, { seed: 1, ...o });
  const { text, tokens, logprobs, finishReason, stopped, usage } = all;
  const { draftTokens, acceptedTokens, ...rest } = usage;
  const answer = { text, tokens, logprobs, finishReason, stopped, usage: rest };
  return { answer, draftTokens, acceptedTokens };
}

const SAMPLED = { temperature: 0.9, seed: 5 };
const WAYS: readonly [name: string, options: GenerateOptions][] = [
  ["greedy", { temperature: 0 }],
  ["greedy with log-probabilities", { temperature: 0, logprobs: 3 }],
  ["drawn on the GPU", { ...SAMPLED, topK: 0, topP: 1, minP: 0 }],
  ["drawn from the likeliest", SAMPLED],
  ["drawn from the likeliest few, with log-probabilities", { ...SAMPLED, topK: 4, logprobs: 2 }],
  ["drawn by typical surprise", { ...SAMPLED, typicalP: 0.9 }],
  ["with penalties", { temperature: 0, repeatPenalty: 1.3, presencePenalty: 0.2 }],
  ["with rewards", { ...SAMPLED, frequencyPenalty: -0.1, penaltyLastN: 20 }],
  ["with a bias", { temperature: 0, logitBias: { 5: 2, 7: Number.NEGATIVE_INFINITY } }],
];

describe.each([1, 4, 16])("in pages of %i", (pageSize) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await loadEngine(large.bytes, { ...SMALL, pageSize });
  });

  test.each(WAYS)("a text is the same: %s", async (_, options) => {
    let [drafted, accepted] = [0, 0];
    for (const attention of ["full", "window:9", "sinks:2+11"] as const) {
      for (const length of [1, 60]) {
        const ask = { ...options, attention, ignoreEos: true, maxTokens: 36 };
        const prompt = promptOf(length, length);
        const expected = await complete(engine, prompt, ask);
        expect(expected).toMatchObject({ draftTokens: 0, acceptedTokens: 0 });
        for (const draft of ["ngram", { engine: drafting, tokens: 4 }] as const) {
          const found = await complete(engine, prompt, { ...ask, draft });
          expect(found.answer).toEqual(expected.answer);
          drafted += found.draftTokens;
          accepted += found.acceptedTokens;
        }
      }
    }
    expect(drafted).toBeGreaterThan(accepted);
    expect(accepted).toBeGreaterThan(0);
    expect([engine.usage.pages, drafting.usage.pages]).toEqual([0, 0]);
  });
});

describe("a model that is trained", () => {
  const FILE = fixtureModel("stories260K-F32.gguf");
  const ONCE = "Once upon a time, there was a big dog. The dog was happy. Once upon a time,";
  let engine: Engine;
  const reports: StepReport[] = [];
  beforeAll(async () => {
    const onStep = (step: StepReport) => void reports.push(step);
    engine = await loadEngine(FILE, { context: 400, prefixes: false, onStep });
  });

  test("ends at the same stop string, end, or token", async () => {
    const whole = await engine.complete(ONCE, { temperature: 0, maxTokens: 120 });
    const { text } = whole;
    for (const [from, to] of [
      [3, 6],
      [20, 29],
      [60, 61],
    ] as const) {
      const ask = { temperature: 0, maxTokens: 120, stop: text.slice(from, to) };
      const expected = await complete(engine, ONCE, ask);
      expect(expected.answer.finishReason).toBe("stop");
      const found = await complete(engine, ONCE, { ...ask, draft: "ngram" });
      expect(found.answer).toEqual(expected.answer);
    }
    for (let maxTokens = 1; maxTokens < 20; maxTokens++) {
      const { tokens, usage } = await engine.complete(ONCE, {
        temperature: 0,
        maxTokens,
        draft: "ngram",
      });
      expect(tokens).toEqual(whole.tokens.slice(0, maxTokens));
      expect(usage.generatedTokens).toBe(maxTokens);
    }
  });

  test("takes fewer steps if it repeats itself, and none beyond the end", async () => {
    const prompt = engine.tokenize(ONCE);
    const ask = { temperature: 0, maxTokens: 200, ignoreEos: true } as const;
    reports.length = 0;
    const expected = await complete(engine, prompt, ask);
    const plain = reports.splice(0).length;
    const found = await complete(engine, prompt, { ...ask, draft: "ngram" });
    const steps = reports.splice(0);
    expect(found.answer).toEqual(expected.answer);
    // Each step gives one token, and what is accepted besides.
    expect(steps.length).toBe(plain - found.acceptedTokens);
    expect(found.acceptedTokens).toBeGreaterThan(20);
    const last = prompt.length + 200 - 1; // the last token is chosen, not computed
    for (const { pieces } of steps) {
      expect(pieces[0]!.position + pieces[0]!.tokens).toBeLessThanOrEqual(last);
      if (pieces[0]!.position > 0) expect(pieces[0]!.tokens).toBeLessThanOrEqual(16);
    }
  });

  test("has all drafts of the same model accepted, drawn or not", async () => {
    await using same = await loadEngine(FILE, { context: 400 });
    for (const options of [{ temperature: 0 }, { ...SAMPLED, topK: 0, topP: 1, minP: 0 }]) {
      const ask = { ...options, maxTokens: 40, ignoreEos: true };
      const expected = await complete(engine, ONCE, ask);
      reports.length = 0;
      const draft = { engine: same, tokens: 5 };
      const found = await complete(engine, ONCE, { ...ask, draft });
      expect(found.answer).toEqual(expected.answer);
      // 3 are drafted first, then 5: 1 of the prompt, 4, 5 times 6, and 5 that are left.
      expect(reports.map(({ pieces }) => pieces[0]!.tokens).slice(1)).toEqual([
        4, 6, 6, 6, 6, 6, 5,
      ]);
      expect(found).toMatchObject({ draftTokens: 32, acceptedTokens: 32 });
      expect(same.usage.pages).toBe(0);
    }
  });

  test("is drafted by a model with a shorter memory, or hardly any room", async () => {
    const prompt = engine.tokenize(ONCE);
    const ask = { temperature: 0, maxTokens: 150, ignoreEos: true } as const;
    const expected = await complete(engine, prompt, ask);
    for (const options of [
      { context: 40 },
      { context: 9 },
      { context: 400, attention: "window:12", pageSize: 4 },
      { context: 400, attention: "sinks:1+20", pageSize: 1 },
    ] as const) {
      await using other = await loadEngine(FILE, options);
      const found = await complete(engine, prompt, { ...ask, draft: other });
      expect(found.answer).toEqual(expected.answer);
      expect(found.acceptedTokens, JSON.stringify(options)).toBeGreaterThan(0);
      expect(other.usage.pages).toBe(0);
    }
    // What other texts of the small model hold, drafts go without.
    await using full = await loadEngine(FILE, { context: 64 });
    const sequence = full.sequence();
    await full.run({ sequence, tokens: Array(60).fill(9), wanted: { kind: "nothing" } });
    const found = await complete(engine, prompt, { ...ask, draft: full });
    expect(found.answer).toEqual(expected.answer);
    expect(found.draftTokens).toBe(0);
    sequence.clear();
  });

  test("tells the same evictions", async () => {
    const run = async (draft: GenerateOptions["draft"]) => {
      const told: number[] = [];
      const options = { temperature: 0, attention: "sinks:3+12", maxTokens: 90 } as const;
      const onEvict = (eviction: { positions: readonly number[]; tokens: readonly number[] }) =>
        void told.push(...eviction.positions, ...eviction.tokens);
      await engine.complete(ONCE, { ...options, ignoreEos: true, onEvict, draft });
      return told;
    };
    const expected = await run(undefined);
    expect(expected.length).toBeGreaterThan(100);
    // The last step may end beyond the last page that is evicted without drafts, or before it.
    const found = await run("ngram");
    expect(found).toEqual(expected.slice(0, found.length));
    expect(expected.length - found.length).toBeLessThanOrEqual(2 * 16);
  });

  test("is kept for the next turn, under a window, too", async () => {
    for (const attention of ["full", "sinks:3+30"] as const) {
      const turns = async (draft: GenerateOptions["draft"]) => {
        using prefixCache = engine.prefixCache();
        const ask = { temperature: 0, attention, prefixCache, draft, ignoreEos: true } as const;
        const prompt = engine.tokenize(ONCE);
        const first = await complete(engine, prompt, { ...ask, maxTokens: 30, stop: "." });
        const next = [...prompt, ...first.answer.tokens, ...prompt.slice(1)];
        return [first.answer, (await complete(engine, next, { ...ask, maxTokens: 60 })).answer];
      };
      const expected = await turns(undefined);
      expect(expected[1]!.usage.cachedTokens).toBeGreaterThan(10);
      expect(await turns("ngram")).toEqual(expected);
    }
  });

  test("gives back what it holds if it is left, or aborted", async () => {
    await using other = await loadEngine(FILE, { context: 400 });
    for (const draft of ["ngram", other] as const) {
      let pieces = 0;
      const options = { temperature: 0, maxTokens: 200, ignoreEos: true, draft } as const;
      for await (const _ of engine.generate(ONCE, options)) if (++pieces === 20) break;
      expect([engine.usage.pages, other.usage.pages]).toEqual([0, 0]);
      const controller = new AbortController();
      const aborted = engine.generate(ONCE, { ...options, signal: controller.signal });
      for await (const _ of aborted) if (++pieces === 40) controller.abort();
      expect((await aborted.result).finishReason).toBe("aborted");
      expect([engine.usage.pages, other.usage.pages]).toEqual([0, 0]);
    }
  });

  test("shares steps with others that are drafted, 16 rows at most", async () => {
    const options = { cacheTokens: 1600, context: 400 };
    await using many = await loadEngine(FILE, {
      ...options,
      onStep: (step) => reports.push(step),
    });
    const prompts = ["Once upon a time", ONCE, "The cat and the dog. The cat", ONCE.slice(20)];
    const ask = { temperature: 0, maxTokens: 100, ignoreEos: true, logprobs: 1 } as const;
    const alone = [];
    for (const prompt of prompts) alone.push((await complete(engine, prompt, ask)).answer);
    reports.length = 0;
    const together = await Promise.all(
      prompts.map((prompt) => complete(many, prompt, { ...ask, draft: "ngram" })),
    );
    expect(together.map(({ answer }) => answer)).toEqual(alone);
    const decoding = reports.filter(({ pieces }) => pieces.every(({ position }) => position > 0));
    const rows = decoding.map(({ pieces }) => pieces.reduce((sum, { tokens }) => sum + tokens, 0));
    expect(Math.max(...rows)).toBeLessThanOrEqual(16);
    const shared = decoding.filter(
      ({ pieces }) => pieces.length > 1 && pieces.some(({ tokens }) => tokens > 1),
    );
    expect(shared.length).toBeGreaterThan(3);
  });

  test("has answers and chats with drafts", async () => {
    const ask = { ...SAMPLED, answers: 3, maxTokens: 30 };
    const [a, b] = [
      await engine.complete(ONCE, ask),
      await engine.complete(ONCE, { ...ask, draft: "ngram" }),
    ];
    expect(b.answers!.map(({ tokens }) => tokens)).toEqual(a.answers!.map(({ tokens }) => tokens));
    const messages = [{ role: "user", content: "The dog ran. The dog ran. The dog" }] as const;
    const options = { temperature: 0, maxTokens: 60 };
    const plain = await engine.chat(messages, options).result;
    const drafted = await engine.chat(messages, { ...options, draft: "ngram" }).result;
    expect(drafted.text).toBe(plain.text);
    expect(drafted.usage.draftTokens).toBeGreaterThan(0);
  });

  test("refuses drafts that cannot be", async () => {
    const refused = (draft: GenerateOptions["draft"], options: GenerateOptions = {}) => {
      return () => engine.generate(ONCE, { ...options, draft });
    };
    expect(refused(engine)).toThrow(
      "The draft's engine is the text's own: give a smaller model, or \"ngram\".",
    );
    expect(refused(drafting)).toThrow(
      "The draft's model has another vocabulary (35 tokens, not 512): its ids mean others.",
    );
    expect(refused("ngram", { cache: false })).toThrow(
      "Drafts are verified by means of the cache: leave out draft or cache.",
    );
    expect(refused("ngram:99" as "ngram")).toThrow(
      'Invalid draft "ngram:99": expected "ngram", "ngram:K" with K from 1 to 15, another loaded engine, or { engine, tokens }.',
    );
  });
});

test("a text ends with the token that ends it, within a draft, too", async () => {
  const engine = await loadEngine(large.bytes, SMALL);
  const prompt = promptOf(4, 9);
  const { tokens } = await engine.complete(prompt, { temperature: 0, maxTokens: 60 });
  const last = tokens.find((id, i) => i >= 5 && tokens.indexOf(id) === i)!;
  const metadata = large.contents.metadata!.map((entry) =>
    entry[0] === "tokenizer.ggml.eos_token_id" ? ([entry[0], "u32", last] as const) : entry,
  );
  const bytes = writeGguf({ ...large.contents, metadata });
  const steps: StepReport[] = [];
  await using ending = await loadEngine(bytes, { ...SMALL, onStep: (step) => steps.push(step) });
  const ask = { temperature: 0, maxTokens: 60 };
  const expected = await complete(ending, prompt, ask);
  expect(expected.answer.finishReason).toBe("eos");
  expect(expected.answer.tokens).toEqual(tokens.slice(0, tokens.indexOf(last)));
  steps.length = 0;
  const found = await complete(ending, prompt, { ...ask, draft: engine });
  expect(found.answer).toEqual(expected.answer);
  const { position, tokens: rows } = steps.at(-1)!.pieces[0]!;
  const end = prompt.length + tokens.indexOf(last);
  expect(position + rows, "the last step has rows beyond the end").toBeGreaterThan(end);
});

test("texts in a small cache have pages for the rows of their drafts", async () => {
  // 15 pages: three texts of one row a step would go in, of which each may want seven for 16 rows.
  const options = { ...SMALL, attention: "window:9", pageSize: 4 } as const;
  const engine = await loadEngine(large.bytes, options);
  const draft = await loadEngine(large.bytes, { ...options, cacheTokens: 800 });
  const prompts = [3, 9, 14, 20].map((id) => [id]);
  const ask = { temperature: 0, ignoreEos: true, maxTokens: 90 };
  const alone = [];
  for (const prompt of prompts) alone.push((await complete(engine, prompt, ask)).answer);
  const together = await Promise.all(
    prompts.map((prompt) => complete(engine, prompt, { ...ask, draft })),
  );
  expect(together.map(({ answer }) => answer)).toEqual(alone);
  for (const { acceptedTokens } of together) expect(acceptedTokens).toBeGreaterThan(70);
});

test("rows of one step choose and list as steps of one row do", async () => {
  const engine = await loadEngine(large.bytes, SMALL);
  const sequence = engine.sequence();
  const ids = promptOf(3, 30);
  const draw = { temperature: 0.7, seed: 9 };
  await engine.run({ sequence, tokens: ids.slice(0, 10), wanted: { kind: "nothing" } });
  const choices: TokenLogprob[] = [];
  const lists: (TopLogits | undefined)[] = [];
  for (const id of ids.slice(10)) {
    const wanted = { kind: "choices", draw, rows: 1 } as const;
    choices.push(...(await engine.run({ sequence, tokens: [id], wanted })));
    sequence.truncate(sequence.length - 1);
    const { choice } = await engine.run({
      sequence,
      tokens: [id],
      wanted: { kind: "choice", draw },
    });
    expect(choices.at(-1)).toEqual(await choice);
    sequence.truncate(sequence.length - 1);
    const keep: number[] = [3 + (lists.length % 4)];
    lists.push(...(await engine.run({ sequence, tokens: [id], wanted: { kind: "lists", keep } })));
  }
  for (const rows of [2, 5, 16]) {
    sequence.truncate(10);
    const tokens = ids.slice(10, 10 + rows);
    // Of a few tokens more than have something wanted of them, too.
    const wanted = { kind: "choices", draw, rows: rows - 1 } as const;
    expect(await engine.run({ sequence, tokens, wanted })).toEqual(choices.slice(1, rows));
    sequence.truncate(10);
    const keep = tokens.map((_, i) => 3 + (i % 4));
    expect(await engine.run({ sequence, tokens, wanted: { kind: "lists", keep } })).toEqual(
      lists.slice(0, rows),
    );
  }
  const many = { sequence, tokens: ids.slice(0, 17) };
  expect(() => engine.run({ ...many, wanted: { kind: "choices", draw, rows: 17 } })).toThrow(
    "Invalid wanted.rows 17: expected a whole number from 1 to 16.",
  );
  sequence.clear();
});
