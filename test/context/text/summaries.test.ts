// Summaries of summaries: the budget is met and the work ends, whatever the summarizer returns; the tree covers the text.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type SummaryNode,
  type SummaryTree,
  summarize,
} from "../../../src/context/text/summaries.ts";
import type { SummaryRequest } from "../../../src/context/text/summarizer.ts";
import { createTokenizer } from "../../../src/engine/tokenizer/tokenizer.ts";
import { UserError } from "../../../src/errors.ts";
import { shippedMetadata } from "../../engine/tokenizer/vocabularies.ts";
import { anyText, textInParts } from "../../support/texts.ts";

const tokenizer = createTokenizer(await shippedMetadata());
const count = (text: string) => tokenizer.encode(text, { addSpecial: false }).length;

/** Words of a token each, such as " a": any of them are as many tokens as words. */
const words = (n: number, word = "a") => Array(n).fill(word).join(" ");

/** What holds for every tree. */
function check({ root, levels }: SummaryTree, end: number, budget: number, share: number): void {
  expect(root.tokens).toBeLessThanOrEqual(budget);
  expect(levels.at(-1)).toEqual([root]);
  for (const [i, level] of levels.entries()) {
    expect([level[0]!.start, level.at(-1)!.end]).toEqual([0, end]);
    for (const [j, node] of level.entries()) {
      expect(node.tokens).toBe(count(node.text));
      if (j > 0) expect(node.start).toBeLessThanOrEqual(level[j - 1]!.end);
      if (node.level === 0) {
        expect(node.children).toEqual([]);
        continue;
      }
      expect([node.start, node.end]).toEqual([node.children[0]!.start, node.children.at(-1)!.end]);
      expect(node.level).toBe(1 + Math.max(...node.children.map(({ level }) => level)));
      if (node !== root) expect(node.tokens).toBeLessThanOrEqual(share);
    }
    if (i > 1) expect(level.length).toBeLessThanOrEqual(Math.ceil(levels[i - 1]!.length / 2));
    if (i > 0) {
      // Each of the level below is the child of one above, in order, or has gone up.
      const below = level.flatMap((node) =>
        levels[i - 1]!.includes(node) ? [node] : node.children,
      );
      expect(below).toEqual(levels[i - 1]);
    }
  }
  if (levels.length > 1) expect(levels[1]!.length).toBeLessThanOrEqual(levels[0]!.length);
}

test("500 texts: hostile summarizers, whatever they return, end in a tree within the budget", async () => {
  const hostile = fc.oneof(
    fc.constant((text: string) => text), // the same
    fc.constant((text: string) => `${text} ${text} and more`), // longer
    fc.constant(() => ""),
    fc.constant((text: string) => text.split("").reverse().join("")), // with halves of pairs
    anyText.map((answer) => () => answer),
    fc.constant((text: string) => "🙂".repeat(text.length)),
  );
  const sizes = fc.record({
    size: fc.integer({ min: 12, max: 60 }),
    overlap: fc.nat({ max: 11 }),
    budget: fc.integer({ min: 1, max: 80 }),
    fanIn: fc.integer({ min: 2, max: 6 }),
  });
  let deepest = 0;
  await fc.assert(
    fc.asyncProperty(textInParts, hostile, sizes, async ({ text, parts }, answer, sizes) => {
      const end = count(text);
      fc.pre(end > 0);
      const requests: SummaryRequest[] = [];
      const told: SummaryNode[] = [];
      const tree = await summarize(parts, tokenizer, {
        ...sizes,
        summarizer: async (text, request) => {
          requests.push(request);
          return answer(text);
        },
        onNode: (node) => told.push(node),
      });
      const { size, budget, fanIn } = sizes;
      const share = Math.min(budget, Math.floor((size + 1) / fanIn) - 1);
      check(tree, end, budget, share);
      for (const { maxTokens } of requests) expect(maxTokens).toBe(share);
      expect(new Set(told)).toEqual(new Set(tree.levels.flat()));
      const windows = tree.levels[0]!.length;
      expect(requests.length).toBeLessThanOrEqual(2 * windows);
      expect(tree.levels.length).toBeLessThanOrEqual(3 + Math.ceil(Math.log2(windows)));
      deepest = Math.max(deepest, tree.levels.length);
      if (end <= budget) expect(tree.root.text).toBe(text.replace(/\p{Surrogate}/gu, "\ufffd"));
    }),
    { numRuns: 500 },
  );
  expect(deepest).toBeGreaterThan(4); // else the texts were too short to tell
});

test("windows, then groups of neighbours that fill a window, until one text fits the budget", async () => {
  const asked: [level: number, text: string][] = [];
  const tree = await summarize(words(64), tokenizer, {
    ...{ size: 8, overlap: 1, budget: 2, fanIn: 3 },
    summarizer: async (text, { level, maxTokens }) => {
      expect(maxTokens).toBe(2);
      asked.push([level, text]);
      return words(2, "abcde"[level]);
    },
  });
  expect(count(words(64))).toBe(64);
  // (64 - 1) / 7 windows; three summaries of two tokens and the two line breaks between them fill a window of 8.
  expect(tree.levels.map((level) => level.length)).toEqual([9, 9, 3, 1]);
  expect(asked.map(([level]) => level)).toEqual([...Array(9).fill(1), 2, 2, 2, 3]);
  expect(asked[9]![1]).toBe("b b\nb b\nb b");
  expect(asked[12]![1]).toBe("c c\nc c\nc c");
  expect(tree.root).toMatchObject({ level: 3, text: "d d", tokens: 2, start: 0, end: 64 });
});

test("it ends even where two summaries together have more tokens than a window", async () => {
  let calls = 0;
  const strange = {
    ...tokenizer,
    encode: (text: string, options: { addSpecial: false }) => {
      if (++calls > 10_000) throw new Error("it does not end");
      const ids = tokenizer.encode(text, options);
      return text.includes("\n") ? [...ids, ...ids, ...ids, ...ids] : ids;
    },
  };
  const options = { size: 8, budget: 2, fanIn: 2, summarizer: async () => "b b" };
  const { root, levels } = await summarize(words(64), strange, options);
  expect(root.text).toBe("b b");
  expect(levels.map((level) => level.length)).toEqual([8, 8, 4, 2, 1]);
});

describe("no more is summarised than need be", () => {
  const never = () => Promise.reject(new Error("nothing to summarise"));

  test("a document that fits the budget is its own summary, its windows' overlaps not repeated", async () => {
    const text = words(40);
    const options = { size: 10, overlap: 6, budget: 40, summarizer: never };
    const { root, levels } = await summarize(text, tokenizer, options);
    expect(root).toEqual({ level: 0, text, tokens: 40, children: [], start: 0, end: 40 });
    expect(levels).toEqual([[root]]);
  });

  test("summaries that fit the budget together are the summary", async () => {
    const { root, levels } = await summarize(words(24), tokenizer, {
      ...{ size: 8, budget: 5, fanIn: 4 },
      summarizer: async (_, { level }) => (level === 1 ? "b" : never()),
    });
    expect(root.text).toBe("b\nb\nb");
    expect(root.tokens).toBe(5);
    expect(levels.map((level) => level.length)).toEqual([3, 3, 1]);
  });
});

test("a summary without text leaves no gap where others are joined", async () => {
  let calls = 0;
  const { root } = await summarize(words(24), tokenizer, {
    ...{ size: 8, budget: 5 },
    summarizer: async () => (++calls === 2 ? "" : "b"),
  });
  expect(root.text).toBe("b\nb");
});

test("numbers without sense and an empty document are a line each", async () => {
  const good = { size: 40, budget: 10, summarizer: async () => "a" };
  for (const [document, change, message] of [
    ["", {}, /^The document is empty/],
    ["a", { budget: 0 }, /^Invalid budget 0: expected a whole number of at least 1\.$/],
    ["a", { budget: Number.NaN }, /^Invalid budget NaN/],
    ["a", { fanIn: 1 }, /^Invalid fanIn 1: expected a whole number of at least 2\.$/],
    ["a", { size: 6 }, /^A window of 6 tokens has no room for 4 summaries: expected at least 7\.$/],
    ["a", { overlap: 40 }, /^Windows of 40 tokens cannot overlap by 40/],
  ] as const) {
    const result = summarize(document, tokenizer, { ...good, ...change });
    await expect(result).rejects.toThrow(UserError);
    await expect(summarize(document, tokenizer, { ...good, ...change })).rejects.toThrow(message);
  }
});

test("a signal ends the work before the next summary, and is handed on", async () => {
  const controller = new AbortController();
  let calls = 0;
  const result = summarize(words(100), tokenizer, {
    ...{ size: 10, budget: 5, signal: controller.signal },
    summarizer: async (_, { signal }) => {
      expect(signal).toBe(controller.signal);
      if (++calls === 3) controller.abort();
      return "a";
    },
  });
  await expect(result).rejects.toMatchObject({ name: "AbortError" });
  expect(calls).toBe(3);
});
