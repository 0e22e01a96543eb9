// Answers within a budget, whatever it is, counted on the prompt that the engine is given.

import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import {
  generateWithRetrieval,
  plainPrompt,
} from "../../../../src/context/text/retrieval/answer.ts";
import { TextIndex } from "../../../../src/context/text/retrieval/text-index.ts";
import type { Engine } from "../../../../src/engine/engine.ts";
import { createTokenizer } from "../../../../src/engine/tokenizer/tokenizer.ts";
import { UserError } from "../../../../src/errors.ts";
import { SHIPPED_MODEL } from "../../../../src/platform/node.ts";
import { FIXTURES, fixtureMetadata } from "../../../engine/tokenizer/vocabularies.ts";
import { LetterEmbedder } from "../../../support/embedder.ts";
import { loadEngine } from "../../../support/engine.ts";
import { fixtureModel } from "../../../support/models.ts";

const tokenizer = createTokenizer(await fixtureMetadata(FIXTURES[0]!));

/** Answers with what it was asked. */
const echo = {
  setting: { context: 512, policy: { window: Number.POSITIVE_INFINITY }, stopsWhenFull: false },
  tokenize: tokenizer.encode,
  promptFor: (request: string) => request,
  async *generate(
    prompt: string | readonly number[],
    options: { maxTokens?: number; seed?: number },
  ) {
    yield "an ";
    yield "answer";
    return { prompt, options };
  },
};

/** All pieces, and what was returned. */
async function drain<P, R>(generation: AsyncGenerator<P, R, void>) {
  const pieces: P[] = [];
  for (;;) {
    const { done, value } = await generation.next();
    if (done) return { pieces, result: value };
    pieces.push(value);
  }
}

describe("the budget", () => {
  let index: TextIndex;
  beforeAll(async () => {
    index = new TextIndex(new LetterEmbedder(tokenizer), { size: 24, overlap: 4 });
    const words =
      "a small cat saw the big blue sea and ran home to eat fish with 東京 friends 🙂".split(" ");
    for (let i = 0; i < 6; i++) {
      const text = Array.from(
        { length: 8 + 9 * i },
        (_, j) => words[(j * (i + 1) + i) % words.length],
      );
      await index.add(`${text.join(" ")}.`, `text ${i}`);
    }
    expect(index.chunks.length).toBeGreaterThan(8);
  });

  test("500 budgets: never exceeded, and every source that has room is taken, best first", async () => {
    let leftOutInAll = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 24, max: 300 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 12 }),
        fc.constantFrom("a fish?", "Who saw the blue sea, and when?", "東京 🙂"),
        fc.constantFrom("embedding" as const, "hybrid" as const),
        async (budget, maxTokens, k, question, mode) => {
          const count = (sources: Parameters<typeof plainPrompt>[1]) =>
            tokenizer.encode(String(plainPrompt(question, sources))).length;
          const options = { budget, maxTokens, k, mode };
          const answering = (async () =>
            drain(generateWithRetrieval(echo, index, question, options)))();
          if (count([]) + maxTokens > budget) {
            await expect(answering).rejects.toThrow(UserError);
            return;
          }
          const { prompt, sources, leftOut } = (await answering).result;
          expect(prompt).toBe(plainPrompt(question, sources));
          expect(count(sources) + maxTokens).toBeLessThanOrEqual(budget);
          const found = await index.retrieve(question, { k, mode });
          expect(sources.length + leftOut.length).toBe(found.length);
          const isTaken = (chunk: (typeof found)[number]) =>
            sources.some(({ source, start }) => source === chunk.source && start === chunk.start);
          expect(found.filter(isTaken)).toMatchObject(
            sources.map(({ text, score }) => ({ text, score })),
          );
          for (const chunk of leftOut) {
            const better = sources.filter(({ score }) => score >= chunk.score);
            expect(count([...better, chunk]) + maxTokens).toBeGreaterThan(budget);
          }
          leftOutInAll += leftOut.length;
        },
      ),
      { numRuns: 500 },
    );
    expect(leftOutInAll).toBeGreaterThan(100);
  });

  test("pieces are the engine's, options reach it, and sources tell their tokens", async () => {
    const { pieces, result } = await drain(
      generateWithRetrieval(echo, index, "the sea", { k: 2, seed: 7, maxTokens: 9 }),
    );
    expect(pieces).toEqual(["an ", "answer"]);
    expect(result.options).toMatchObject({ maxTokens: 9, seed: 7 });
    expect(result.sources.length).toBe(2);
    for (const { text, tokens, score } of result.sources) {
      expect(tokens).toBe(tokenizer.encode(text, { addSpecial: false }).length);
      expect(score).toBeGreaterThan(0);
    }
  });

  test("a prompt of one's own may be token ids, and is counted as such", async () => {
    const prompt = (_: string, sources: readonly unknown[]) =>
      Array(10 + 20 * sources.length).fill(5);
    const options = { prompt, budget: 75, maxTokens: 20, k: 5 };
    const { result } = await drain(generateWithRetrieval(echo, index, "the sea", options));
    expect(result.sources.length).toBe(2);
    expect(result.prompt).toEqual(Array(50).fill(5));
  });

  test.each([
    [{ budget: 10, maxTokens: 10 }, /A budget of 10 tokens with 10 for the answer leaves no room/],
    [{ budget: 10.5 }, /Invalid budget 10.5/],
    [
      { budget: 20, maxTokens: 12 },
      /The question takes \d+ tokens in its prompt, of 8 that the budget has/,
    ],
  ])("%j is refused", async (options, message) => {
    const answering = (async () => drain(generateWithRetrieval(echo, index, "the sea", options)))(); // some throw at once
    await expect(answering).rejects.toThrow(UserError);
    await expect(answering).rejects.toThrow(message);
  });
});

test("with the shipped model: sources in the prompt, the whole within the context, a file for this model only", async () => {
  const engine: Engine = await loadEngine(SHIPPED_MODEL, { context: 160 });
  const index = new TextIndex(engine, { size: 40, overlap: 8 });
  await index.add(
    "Tom had a red ball. He played with it in the park every day with his dog.",
    "ball",
  );
  await index.add(
    "Lily baked a cake with her mom. The cake was sweet and it smelled good.",
    "cake",
  );
  await index.add("The old frog lived in a pond. It sang songs at night to the moon.", "frog");
  const options = { temperature: 0, maxTokens: 24, k: 3, ignoreEos: true };
  const { pieces, result } = await drain(
    generateWithRetrieval(engine, index, "Who sang to the moon?", options),
  );
  expect(result.sources[0]!.source).toBe("frog");
  expect(result.usage.promptTokens + result.tokens.length).toBeLessThanOrEqual(160);
  expect(result.tokens.length).toBe(24);
  expect(pieces.map(({ text }) => text).join("")).toBe(result.text);
  expect(engine.usage.pages).toBe(0);

  const again = await TextIndex.load(await index.save(), engine);
  expect(await again.retrieve("a cake")).toEqual(await index.retrieve("a cake"));

  const other = await loadEngine(fixtureModel("tinystories-4m.Q3_K_M.gguf"), { context: 160 });
  await expect(TextIndex.load(await index.save(), other)).rejects.toThrow(
    /made with another model/,
  );
});
