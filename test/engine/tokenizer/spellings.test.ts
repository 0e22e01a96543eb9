import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Spellings } from "../../../src/engine/tokenizer/spellings.ts";
import { createTokenizer } from "../../../src/engine/tokenizer/tokenizer.ts";
import { UserError } from "../../../src/errors.ts";
import { bpeMetadata, CONTROL, USER_DEFINED } from "./vocabularies.ts";

// Two letters only: words then begin, end and overlap each other everywhere.
const word = fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 6 });
const words = fc.array(word, { maxLength: 8 });
const text = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 40 });

/** By looking at every place for every word. */
function longestAt(words: readonly string[], text: string, at: number): number {
  return Math.max(0, ...words.filter((word) => text.startsWith(word, at)).map((w) => w.length));
}

describe("Spellings", () => {
  test("finds all that looking for each finds", () => {
    fc.assert(
      fc.property(words, text, (words, text) => {
        const all = Array.from(text, (_, start) => {
          return { start, end: start + longestAt(words, text, start) };
        }).filter(({ start, end }) => end > start);
        expect(new Spellings(words).all(text)).toEqual(all);
      }),
      { numRuns: 2000 },
    );
  });

  test("cuts at the first, the longest that begins there", () => {
    fc.assert(
      fc.property(words, text, (words, text) => {
        const cuts: { start: number; end: number }[] = [];
        for (let at = 0; at < text.length; ) {
          const length = longestAt(words, text, at);
          if (length > 0) cuts.push({ start: at, end: at + length });
          at += length || 1;
        }
        expect(new Spellings(words).cut(text)).toEqual(cuts);
      }),
      { numRuns: 2000 },
    );
  });

  test("knows whether a text ends within one", () => {
    fc.assert(
      fc.property(words, text, (words, text) => {
        const is = words.some((word) =>
          Array.from(word, (_, i) => word.slice(0, i)).some((part) => part && text.endsWith(part)),
        );
        expect(new Spellings(words).endsWithin(text)).toBe(is);
      }),
      { numRuns: 2000 },
    );
  });

  test("takes time in proportion to words and text, not to their product", () => {
    // 64 words of 30,000 characters that a text of 300,000 nearly spells at every place: 10^11 steps otherwise.
    const long = Array.from({ length: 64 }, (_, i) => `${"a".repeat(30_000)}${i}`);
    const spellings = new Spellings(long);
    expect(spellings.cut(`${"a".repeat(300_000)}7`)).toEqual([{ start: 270_000, end: 300_001 }]);
    expect(spellings.endsWithin("a".repeat(300_000))).toBe(true);
  });

  test("refuses more than any vocabulary has", () => {
    const most = 2 ** 23;
    expect(() => new Spellings(["a".repeat(most), "b"])).toThrow(UserError);
    expect(() => new Spellings(["a".repeat(most), "b"])).toThrow(
      /have 8388609 characters.*8388608/,
    );
  });
});

test("special tokens of 60,000 characters are tokens like any other", () => {
  const long = Array.from({ length: 20 }, (_, i) => "xy".repeat(30_000) + i);
  const tokenizer = createTokenizer(
    bpeMetadata(
      [],
      [...long.map((text) => [text, 0, USER_DEFINED] as const), ["<|a|>", 0, CONTROL]],
    ),
  );
  expect(tokenizer.encode(`a${long[7]}xy<|a|>`, { parseSpecial: true })).toEqual([
    ...[97, 263, 120, 121, 276],
  ]);
});

test("a token that is no UTF-8 is not half of a character of a text", () => {
  const tokens = [["\udc82", 0, USER_DEFINED]] as const;
  const tokenizer = createTokenizer(bpeMetadata([], tokens));
  expect(tokenizer.encode("🙂", { parseSpecial: true })).toEqual([0xf0, 0x9f, 0x99, 0x82]);
  expect(tokenizer.decode([0xf0, 0x9f, 0x99, 256])).toBe("🙂");
});
