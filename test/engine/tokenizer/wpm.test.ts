import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createTokenizer,
  type EncodeOptions,
  type Tokenizer,
} from "../../../src/engine/tokenizer/tokenizer.ts";
import { textInParts } from "../../support/texts.ts";
import {
  CONTROL,
  fixtureMetadata,
  fixtureVectors,
  type Metadata,
  NORMAL,
  wpmMetadata,
} from "./vocabularies.ts";

/** Written by wordpiece.py: Hugging Face's tokenizers with the vocabulary of bert-base-uncased. */
interface WordPiece {
  readonly texts: readonly string[];
  readonly uncased: readonly number[][];
  /** Of the first 400 texts. */
  readonly cased: readonly number[][];
  readonly lowercase: readonly number[][];
  readonly special: readonly number[][];
  readonly decoded: readonly string[];
}

const { texts, decoded, ...ids }: WordPiece = JSON.parse(
  gunzipSync(
    readFileSync(new URL("../../fixtures/tokenizers/wordpiece.json.gz", import.meta.url)),
  ).toString("utf8"),
);
const plain = { addSpecial: false };

const metadata = await fixtureMetadata("bert-bge");
const uncased = createTokenizer(metadata);

function withKeys(keys: Record<string, boolean>): Tokenizer {
  const more: Metadata = new Map(metadata);
  for (const [key, value] of Object.entries(keys)) more.set(`tokenizer.ggml.${key}`, value);
  return createTokenizer(more);
}

/** The first texts whose ids are not those given, and how many there are. */
function differences(tokenizer: Tokenizer, given: readonly number[][], options: EncodeOptions) {
  const bad = given.flatMap((expected, i) => {
    const found = tokenizer.encode(texts[i]!, options);
    return `${found}` === `${expected}` ? [] : [{ text: texts[i]!, found, expected }];
  });
  return { count: bad.length, first: bad.slice(0, 3) };
}
const NONE = { count: 0, first: [] };

describe("Hugging Face's tokenizers", () => {
  it("give the same ids for 2000 texts of many scripts", () => {
    expect(texts).toHaveLength(2000);
    expect(differences(uncased, ids.uncased, plain)).toEqual(NONE);
  });

  it("give the same ids if case and marks are kept", () => {
    const cased = withKeys({ "normalizer.lowercase": false });
    expect(differences(cased, ids.cased, plain)).toEqual(NONE);
    expect(differences(uncased, ids.cased, plain).count).toBeGreaterThan(100);
  });

  it("give the same ids if marks are kept", () => {
    const marked = withKeys({ "normalizer.strip_accents": false });
    expect(differences(marked, ids.lowercase, plain)).toEqual(NONE);
    expect(differences(uncased, ids.lowercase, plain).count).toBeGreaterThan(100);
  });

  it("give the same ids between [CLS] and [SEP], and if special tokens are found", () => {
    expect(differences(uncased, ids.special, { parseSpecial: true })).toEqual(NONE);
    expect(differences(uncased, ids.special, {}).count).toBeGreaterThan(10);
  });

  it("decode ids to the same texts", () => {
    expect(decoded.map((_, i) => uncased.decode(ids.uncased[i]!))).toEqual(decoded);
  });
});

it("gives llama.cpp's ids of its own 47 texts", async () => {
  const vectors = await fixtureVectors("bert-bge");
  expect(vectors).toHaveLength(47);
  for (const { text, ids } of vectors) expect(uncased.encode(text, plain), text).toEqual(ids);
  expect(uncased.vocabulary.warnings).toEqual([]);
});

describe("a text in parts", () => {
  const options = fc.record({
    addSpecial: fc.boolean(),
    parseSpecial: fc.boolean(),
    continuation: fc.boolean(),
  });
  const inParts = (parts: readonly string[], options?: EncodeOptions) => {
    const encoder = uncased.encoder(options);
    return [...parts.flatMap((part) => encoder.push(part)), ...encoder.flush()];
  };

  it("has the tokens of the whole, wherever its parts end", () => {
    fc.assert(
      fc.property(textInParts, options, ({ text, parts }, options) => {
        expect(inParts(parts, options)).toEqual(uncased.encode(text, options));
      }),
      { numRuns: 1000 },
    );
    for (const text of texts) {
      expect(inParts(Array.from(text), plain), text).toEqual(uncased.encode(text, plain));
    }
  });

  it("is settled word by word", () => {
    const encoder = uncased.encoder(plain);
    expect(encoder.push("un")).toEqual([]);
    expect(encoder.push("affable")).toEqual([]);
    expect(encoder.push(" words")).toEqual(uncased.encode("unaffable", plain));
    expect(encoder.flush()).toEqual(uncased.encode("words", plain));
  });

  it("is decoded as at once, for any tokens", () => {
    const anyIds = fc.array(fc.nat({ max: uncased.vocabulary.size - 1 }), { maxLength: 40 });
    const decoding = fc.record({ special: fc.boolean(), continuation: fc.boolean() });
    fc.assert(
      fc.property(anyIds, decoding, (ids, options) => {
        const decoder = uncased.decoder(options);
        const pieces = [...ids.map((id) => decoder.push(id)), decoder.flush()];
        expect(pieces.join("")).toBe(uncased.decode(ids, options));
      }),
    );
  });
});

describe("a small vocabulary", () => {
  const tokens = ["▁a", "b", "▁ab", "▁", "▁▁", "c", "▁x", "x"].map(
    (text) => [text, 0, NORMAL] as const,
  );
  const [A, B, AB, MARK, FIRST_MARK, C] = [104, 105, 106, 107, 108, 109];
  const tokenizer = createTokenizer(wpmMetadata([...tokens, ["word", 0, CONTROL]]));
  const UNK = 100;

  it("takes the longest pieces from the left, or the whole word is unknown", () => {
    expect(tokenizer.encode("abb ab a", plain)).toEqual([AB, B, AB, A]);
    expect(tokenizer.encode("abz", plain)).toEqual([UNK]);
    expect(tokenizer.encode("b", plain)).toEqual([UNK]); // it only goes on in a word
    expect(tokenizer.encode("abab", plain)).toEqual([UNK]);
  });

  it("tells the mark of a word from the character in a text", () => {
    expect(tokenizer.encode("▁ a▁ a▁b", plain)).toEqual([FIRST_MARK, A, MARK, A, MARK, B]);
    expect(tokenizer.encode("a▁ab", plain)).toEqual([UNK]);
    expect(tokenizer.decode([A, C, FIRST_MARK, A, MARK])).toBe("ac ▁ a▁");
  });

  it("never takes typed text for a control token", () => {
    expect(tokenizer.encode("word", plain)).toEqual([UNK]);
    expect(tokenizer.encode("word", { parseSpecial: true })).toEqual([101, 112, 102]);
  });

  it("has words of 100 characters at most", () => {
    const x = (count: number) => tokenizer.encode("x".repeat(count), plain);
    expect(x(100)).toEqual([110, ...new Array(99).fill(111)]);
    expect(x(101)).toEqual([UNK]);
  });

  it("shows control tokens as words of their own, if asked", () => {
    expect(tokenizer.decode([101, A, B, UNK, A, 102])).toBe("ab a");
    expect(tokenizer.decode([101, A, B, UNK, A, 102], { special: true })).toBe(
      "[CLS] ab [UNK] a [SEP]",
    );
    expect(tokenizer.decode([A, A], { continuation: true })).toBe(" a a");
  });

  it("is wrapped as the file says", () => {
    const wrapped = (keys: Record<string, boolean | number>) =>
      createTokenizer(wpmMetadata(tokens, keys)).encode("a");
    expect(wrapped({})).toEqual([101, A, 102]);
    expect(wrapped({ cls_token_id: 5, seperator_token_id: 6 })).toEqual([5, A, 6]);
    expect(wrapped({ bos_token_id: 5, eos_token_id: 6 })).toEqual([5, A, 6]);
    expect(wrapped({ cls_token_id: 7, bos_token_id: 5, eos_token_id: 6 })).toEqual([7, A, 6]);
    expect(wrapped({ add_bos_token: false })).toEqual([A, 102]);
    expect(wrapped({ add_eos_token: false })).toEqual([101, A]);
    // Converters mean the token between two texts.
    expect(wrapped({ add_eos_token: true, add_sep_token: false })).toEqual([101, A, 102]);
    expect(createTokenizer(wpmMetadata(tokens)).vocabulary.pad).toBe(0);
  });
});

it("takes long texts in its stride", () => {
  for (const unit of ["a", " ", "!", "中", "한", "a\u0301", "\u0301", "\u200b", "ab ", "𐐀"]) {
    const start = performance.now();
    uncased.encode(unit.repeat(200_000), plain);
    // Quadratic behaviour would take minutes; the limit is generous for a busy machine.
    expect(performance.now() - start, unit).toBeLessThan(5000);
  }
});
