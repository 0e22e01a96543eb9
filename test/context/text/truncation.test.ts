// Texts cut to budgets: what is left fits when it is tokenised again, and hardly a token is wasted.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Border,
  type TruncationStrategy,
  truncate,
} from "../../../src/context/text/truncation.ts";
import { createTokenizer } from "../../../src/engine/tokenizer/tokenizer.ts";
import { UserError } from "../../../src/errors.ts";
import { FIXTURES, fixtureMetadata } from "../../engine/tokenizer/vocabularies.ts";

/** Words of several scripts, emoji of one and of many code points, code, blanks. */
const WORDS = [
  ..."the quick brown fox unbelievable counterrevolutionary a I 3.14159 2026".split(" "),
  ..."Привет мир здравствуйте 東京 こんにちは 안녕하세요 שלום مرحبا ไทย नमस्ते".split(" "),
  ..."👩‍👩‍👧‍👦 🙂 🏳️‍🌈 é e\u0301 \u{1F1EB}\u{1F1F7} 𝔘𝔫𝔦".split(" "),
  ..."const x = (a) => a?.b ?? [0x1f]; // TODO <|im_end|> </s>".split(" "),
];
const SPACES = [" ", " ", " ", "", "  ", "\n", "\n\n", "\t", ". ", ", ", "! "];
const texts = fc
  .array(fc.tuple(fc.constantFrom(...WORDS), fc.constantFrom(...SPACES)), {
    maxLength: 60,
    size: "max",
  })
  .map((parts) => parts.flat().join(""));

describe.each(FIXTURES)("with the tokenizer of %s", async (name) => {
  const tokenizer = createTokenizer(await fixtureMetadata(name));
  const count = (text: string) => tokenizer.encode(text, { addSpecial: false }).length;

  test("1000 texts: at most the budget, at most 3 tokens less, and parts of the text", () => {
    fc.assert(
      fc.property(
        texts,
        fc.integer({ min: 8, max: 120 }),
        fc.constantFrom<TruncationStrategy>("head", "tail", "middle"),
        (text, budget, strategy) => {
          const marker = " … ";
          const result = truncate(text, tokenizer, { budget, strategy, marker });
          const all = count(text);
          expect(result.originalTokens).toBe(all);
          expect(result.tokens).toBe(count(result.text));
          if (all <= budget) {
            expect(result).toMatchObject({ text, isTruncated: false });
            return;
          }
          expect(result.isTruncated).toBe(true);
          expect(result.tokens).toBeLessThanOrEqual(budget);
          // A character may take five tokens, its bytes and a space: then not even one more of them fits.
          if (result.tokens < budget - 3) {
            const at = result.text.indexOf(marker);
            const [head, tail] =
              strategy === "middle"
                ? [result.text.slice(0, at), result.text.slice(at + marker.length)]
                : [result.text, result.text];
            const next = [...text.slice(head.length)][0]!;
            const before = [...text.slice(0, text.length - tail.length)].at(-1)!;
            if (strategy === "head") expect(count(head + next)).toBeGreaterThan(budget);
            else if (strategy === "tail") expect(count(before + tail)).toBeGreaterThan(budget);
            else {
              expect(count(head + next + marker + tail)).toBeGreaterThan(budget);
              expect(count(head + marker + before + tail)).toBeGreaterThan(budget);
            }
          }
          expect(result.text).not.toMatch(/\p{Surrogate}/u);
          if (strategy === "head") expect(text.startsWith(result.text)).toBe(true);
          else if (strategy === "tail") expect(text.endsWith(result.text)).toBe(true);
          else {
            const at = result.text.indexOf(marker);
            expect(text.startsWith(result.text.slice(0, at))).toBe(true);
            expect(text.endsWith(result.text.slice(at + marker.length))).toBe(true);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  test.each<[Border, RegExp]>([
    ["sentence", /[.!?]\s*$/],
    ["paragraph", /\n\s*\n$/],
  ])("by %s: no part of one is left", (border, end) => {
    const text = Array.from({ length: 12 }, (_, i) => {
      return `Here is sentence ${i}. It is not long! Is it?${i % 3 === 2 ? "\n\n" : " "}`;
    }).join("");
    for (const budget of [30, 60, 90]) {
      const head = truncate(text, tokenizer, { budget, border });
      expect(head.tokens).toBeLessThanOrEqual(budget);
      expect(text.startsWith(head.text)).toBe(true);
      if (border === "sentence") expect(head.tokens).toBeGreaterThan(budget - 20);
      if (head.text !== "") expect(head.text).toMatch(end);
      const tail = truncate(text, tokenizer, { budget, border, strategy: "tail" });
      expect(tail.tokens).toBeLessThanOrEqual(budget);
      expect(text.endsWith(tail.text)).toBe(true);
      if (tail.text !== "") expect(text.slice(0, -tail.text.length)).toMatch(end);
    }
  });

  test("a reserve comes off the budget; budgets without room are refused", () => {
    const text = "one two three four five six seven eight nine ten eleven twelve thirteen";
    const { tokens } = truncate(text, tokenizer, { budget: 20, reserve: 12 });
    expect(tokens).toBeLessThanOrEqual(8);
    expect(tokens).toBeGreaterThanOrEqual(5);
    expect(truncate(text, tokenizer, { budget: 1 }).tokens).toBeLessThanOrEqual(1);
    expect(truncate("", tokenizer, { budget: 1 })).toMatchObject({ text: "", isTruncated: false });
    for (const options of [
      { budget: 0 },
      { budget: 5, reserve: 5 },
      { budget: 2.5 },
      { budget: 5, reserve: -1 },
    ]) {
      expect(() => truncate(text, tokenizer, options)).toThrow(UserError);
    }
    const marker = "a marker that is far too long for this";
    expect(() => truncate(text, tokenizer, { budget: 6, strategy: "middle", marker })).toThrow(
      /shorter marker/,
    );
  });
});
