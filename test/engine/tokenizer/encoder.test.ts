// A text that arrives in parts has the tokens of the whole. The oracle is `encode`, which llama.cpp's vectors check.

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  findPreTokenizer,
  splitPieces,
} from "../../../src/engine/tokenizer/algorithms/pre-tokenizer.ts";
import {
  createTokenizer,
  type EncodeOptions,
  NoBorderError,
  type Tokenizer,
} from "../../../src/engine/tokenizer/tokenizer.ts";
import { UserError } from "../../../src/errors.ts";
import { anyText, textInParts } from "../../support/texts.ts";
import {
  bpeMetadata,
  CONTROL,
  FIXTURES,
  fixtureMetadata,
  NORMAL,
  shippedMetadata,
  spmMetadata,
  USER_DEFINED,
} from "./vocabularies.ts";

const stories = readFileSync(new URL("../../fixtures/text/stories.txt", import.meta.url), "utf8");

function inParts(tokenizer: Tokenizer, parts: readonly string[], options?: EncodeOptions) {
  const encoder = tokenizer.encoder(options);
  return [...parts.flatMap((part) => encoder.push(part)), ...encoder.flush()];
}

/** Parts of so many UTF-16 units. */
function partsOf(text: string, length: number): string[] {
  return Array.from({ length: Math.ceil(text.length / length) }, (_, i) =>
    text.slice(i * length, (i + 1) * length),
  );
}

const VOCABULARIES = [
  ...FIXTURES.map((name) => [name, () => fixtureMetadata(name)] as const),
  ["the shipped model", shippedMetadata] as const,
];

describe.each(VOCABULARIES)("with the tokenizer of %s", async (_, metadata) => {
  const tokenizer = createTokenizer(await metadata());
  const options = fc.record({
    addSpecial: fc.boolean(),
    parseSpecial: fc.boolean(),
    continuation: fc.boolean(),
  });

  test("1500 texts have the tokens of the whole, wherever their parts end", () => {
    fc.assert(
      fc.property(textInParts, options, ({ text, parts }, options) => {
        expect(inParts(tokenizer, parts, options)).toEqual(tokenizer.encode(text, options));
      }),
      { numRuns: 1500 },
    );
  });

  test("a text that arrives character by character is settled word by word", () => {
    const encoder = tokenizer.encoder();
    const ids: number[] = [];
    let longest = 0;
    let since = 0;
    for (const character of stories) {
      const settled = encoder.push(character);
      since = settled.length > 0 ? 0 : since + 1;
      longest = Math.max(longest, since);
      for (const id of settled) ids.push(id);
    }
    ids.push(...encoder.flush());
    expect(ids).toEqual(tokenizer.encode(stories));
    // Its longest stretch without a letter before a space or a mark, a word with what is around it.
    expect(longest).toBeLessThan(32);
  });

  test("an encoder goes on with a new text after the end of one", () => {
    const encoder = tokenizer.encoder();
    for (const text of ["Hello world, hello", "", "a\ud800", "Hello"]) {
      const ids = [...encoder.push(text), ...encoder.flush()];
      expect(ids).toEqual(tokenizer.encode(text));
    }
  });
});

// One name of every family in the table.
const NAMES = [
  ...["default", "gpt-2", "llama3", "smaug-bpe", "qwen2", "qwen35", "smollm", "tekken", "gpt-4o"],
  ...["deepseek-llm", "deepseek-coder", "deepseek-v3", "falcon", "seed-coder", "minicpm5"],
  ...["bloom", "viking", "jais-2", "laguna", "exaone-moe", "chameleon", "kimi-k2", "youtu"],
  ...["superbpe", "tiny_aya", "afmoe"],
];

describe.each(NAMES)("by the rules of %s", (name) => {
  const { stages, isBorder } = findPreTokenizer(name);

  test("5000 texts part at every border as they do by themselves", () => {
    fc.assert(
      fc.property(anyText, (given) => {
        const text = given.replace(/\p{Surrogate}/gu, "\ufffd");
        const characters = Array.from(text);
        const parts = [""];
        for (const [i, character] of characters.entries()) {
          if (i > 0 && isBorder(characters[i - 1]!, character)) parts.push("");
          parts.push(parts.pop()! + character);
        }
        const pieces = parts.flatMap((part) => splitPieces(part, stages));
        expect(pieces).toEqual(splitPieces(text, stages));
      }),
      { numRuns: 5000 },
    );
  });
});

describe("borders beside special tokens", () => {
  const everySplit = (tokenizer: Tokenizer, text: string) => {
    const whole = tokenizer.encode(text, { parseSpecial: true });
    for (let cut = 0; cut <= text.length; cut++) {
      const parts = [text.slice(0, cut), text.slice(cut)];
      expect(inParts(tokenizer, parts, { parseSpecial: true })).toEqual(whole);
    }
    expect(inParts(tokenizer, Array.from(text), { parseSpecial: true })).toEqual(whole);
  };

  test("none within a token, nor where one starts like another", () => {
    const specials = ["<m.end>", "<m.end>.more", "a.b", "bb"];
    const tokenizer = createTokenizer(
      bpeMetadata(
        ["a b", "o n"],
        specials.map((text) => [text, 0, USER_DEFINED]),
      ),
    );
    everySplit(tokenizer, "on <m.end>.mor on <m.end>.more a.b.on bb on abb.on.<m.end");
  });

  test("none in white space that a token takes along, before it or behind it", () => {
    const before = createTokenizer(
      bpeMetadata(["a b"], [["<mask>", 0, CONTROL]], { pre: "jina-v2-es" }),
    );
    everySplit(before, "ab  \n <mask> ab <mask>ab. <mask>");
    const after = createTokenizer(
      spmMetadata(
        [
          ["▁", -1, NORMAL],
          ["a", -1, NORMAL],
          ["▁a", -1, NORMAL],
          ["<|end|>", 0, CONTROL],
        ],
        { "general.name": "Phi-3" },
      ),
    );
    everySplit(after, "a a<|end|>   a a <|end|>a<|end|> \n");
  });

  test("half a surrogate pair counts as the U+FFFD that it is read as", () => {
    const tokenizer = createTokenizer(spmMetadata([["a\ufffd", -1, NORMAL]]));
    everySplit(tokenizer, "a\ud800a\udc00a\ud83d\ude42a");
    expect(tokenizer.encode("a\ud800", { addSpecial: false }).at(-1)).toBe(259);
  });
});

test("a text without any border is refused by name, and told where", async () => {
  const tokenizer = createTokenizer(await fixtureMetadata("llama-bpe"));
  const encoder = tokenizer.encoder();
  encoder.push("Once upon a time");
  const push = () => {
    for (let i = 0; i < 20; i++) encoder.push("a".repeat(20_000));
  };
  expect(push).toThrow(NoBorderError);
  expect(push).toThrow(UserError);
  expect(push).toThrow(/^More than 262144 characters from character 11 on have no place .*: break/);
  // The same length of words is none.
  const text = "a rose is ".repeat(40_000);
  const ids = inParts(tokenizer, partsOf(text, 65_536));
  expect(ids).toEqual(tokenizer.encode(text));
});
