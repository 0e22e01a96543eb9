import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MetadataValue } from "../../../src/engine/gguf/gguf.ts";
import { Charsmap } from "../../../src/engine/tokenizer/algorithms/charsmap.ts";
import { createTokenizer, type EncodeOptions } from "../../../src/engine/tokenizer/tokenizer.ts";
import { UserError } from "../../../src/errors.ts";
import { textInParts } from "../../support/texts.ts";
import { BYTE, CONTROL, NORMAL, type Token, UNKNOWN, USER_DEFINED } from "./vocabularies.ts";

/** Written by unigram.py: a model of 2000 pieces, and what SentencePiece and tokenizers make of texts. */
interface Unigram {
  readonly pieces: readonly Token[];
  readonly charsmap: string;
  readonly texts: readonly string[];
  readonly ids: readonly number[][];
  readonly decoded: readonly string[];
}

const { pieces, texts, ids, decoded, ...packed }: Unigram = JSON.parse(
  gunzipSync(
    readFileSync(new URL("../../fixtures/tokenizers/unigram.json.gz", import.meta.url)),
  ).toString("utf8"),
);
const charsmap = new Uint8Array(Buffer.from(packed.charsmap, "base64"));
const plain = { addSpecial: false };

function metadataOf(tokens: readonly Token[], more: Record<string, MetadataValue> = {}) {
  const keys: Record<string, MetadataValue> = {
    model: "t5",
    tokens: tokens.map(([text]) => text),
    scores: Float32Array.from(tokens, ([, score]) => score),
    token_type: Int32Array.from(tokens, ([, , type]) => type),
    ...more,
  };
  return new Map(Object.entries(keys).map(([key, value]) => [`tokenizer.ggml.${key}`, value]));
}

const trained = createTokenizer(
  metadataOf(pieces, { precompiled_charsmap: charsmap, remove_extra_whitespaces: true }),
);

describe("SentencePiece's characters and the path of Hugging Face's tokenizers", () => {
  it("give the same ids for 1000 texts of many scripts", () => {
    expect(texts).toHaveLength(1000);
    const bad = texts.filter((text, i) => `${trained.encode(text, plain)}` !== `${ids[i]}`);
    expect(bad).toEqual([]);
    expect(trained.vocabulary.warnings).toEqual([]);
  });

  it("decode ids to the same texts, but for unknown characters", () => {
    for (const [i, found] of ids.entries()) {
      const text = trained.decode(found, { special: true });
      expect(text).toBe(decoded[i]!.replaceAll(" \u2047 ", "<unk>"));
    }
  });
});

describe("a text in parts", () => {
  const inParts = (parts: readonly string[], options?: EncodeOptions) => {
    const encoder = trained.encoder(options);
    return [...parts.flatMap((part) => encoder.push(part)), ...encoder.flush()];
  };

  it("has the tokens of the whole, wherever its parts end", () => {
    const options = fc.record({
      addSpecial: fc.boolean(),
      parseSpecial: fc.boolean(),
      continuation: fc.boolean(),
    });
    fc.assert(
      fc.property(textInParts, options, ({ text, parts }, options) => {
        expect(inParts(parts, options)).toEqual(trained.encode(text, options));
      }),
      { numRuns: 1000 },
    );
    for (const [i, text] of texts.entries()) {
      expect(inParts(Array.from(text), plain), text).toEqual(ids[i]);
    }
  });

  it("is settled word by word", () => {
    const encoder = trained.encoder(plain);
    expect(encoder.push("the monster")).not.toEqual([]);
    expect(encoder.push(" said")).not.toEqual([]);
  });
});

const SMALL: readonly Token[] = [
  ["<pad>", 0, CONTROL],
  ["</s>", 0, CONTROL],
  ["<unk>", 0, UNKNOWN],
  ["▁", -3, NORMAL],
  ["a", -4, NORMAL],
  ["b", -4, NORMAL],
  ["ab", -5, NORMAL],
  ["▁ab", -9, NORMAL],
  ["abab", -20, NORMAL],
  ["<u>", -1, USER_DEFINED],
  ["<0x41>", 0, BYTE],
];

describe("a small vocabulary", () => {
  const [EOS, UNK, SPACE, A, B, AB, SPACE_AB, U] = [1, 2, 3, 4, 5, 6, 7, 9];
  const encode = (text: string, more = {}, options: EncodeOptions = plain) =>
    createTokenizer(metadataOf(SMALL, more)).encode(text, options);

  it("takes the likeliest way to cut", () => {
    expect(encode("abab")).toEqual([SPACE, AB, AB]); // -13, not -14 nor -23
    expect(encode("ba")).toEqual([SPACE, B, A]);
    const likely = SMALL.map(
      ([text, score, type]): Token => [text, text === "▁ab" ? -7 : score, type],
    );
    expect(createTokenizer(metadataOf(likely)).encode("ab", plain)).toEqual([SPACE_AB]);
  });

  it("gives one unknown token for a run of characters without pieces", () => {
    expect(encode("axyz🙂b")).toEqual([SPACE, A, UNK, B]);
    expect(encode("xay")).toEqual([SPACE, UNK, A, UNK]);
    expect(encode("A")).toEqual([SPACE, UNK]); // bytes are no pieces
  });

  it("keeps every space, or merges them", () => {
    expect(encode(" a  b ")).toEqual([SPACE, SPACE, A, SPACE, SPACE, B, SPACE]);
    const merging = { remove_extra_whitespaces: true };
    expect(encode(" a  b ", merging)).toEqual([SPACE, A, SPACE, B]);
    expect(encode("  ", merging)).toEqual([]);
    expect(encode("ab", { add_space_prefix: false })).toEqual([AB]);
  });

  it("finds user-defined tokens first, and begins anew behind them", () => {
    expect(encode("a<u>b")).toEqual([SPACE, A, U, SPACE, B]);
  });

  it("ends every text with EOS, and begins it as the file says", () => {
    expect(encode("a", {}, {})).toEqual([SPACE, A, EOS]);
    const bos = { add_bos_token: true, bos_token_id: 0 };
    expect(encode("a", bos, {})).toEqual([0, SPACE, A, EOS]);
    expect(encode("a", { add_eos_token: false }, {})).toEqual([SPACE, A]);
  });

  it("decodes marks to spaces, but for the first", () => {
    const { decode } = createTokenizer(metadataOf(SMALL));
    expect(decode([SPACE_AB, SPACE, A, EOS, U])).toBe("ab a<u>");
    expect(decode([SPACE, A], { continuation: true })).toBe(" a");
  });
});

it("takes long texts in linear time", () => {
  for (const unit of [
    "the monster said ",
    "a",
    " ",
    "\u0301",
    "中",
    "e\u0301",
    "-",
    "q",
    "🙂",
    "ﷺ",
  ]) {
    const text = unit.repeat(1_000_000 / unit.length);
    const start = performance.now();
    trained.encode(text, plain);
    // Quadratic behaviour would take hours; the limit is generous for a busy machine.
    expect(performance.now() - start, unit).toBeLessThan(15_000);
  }
}, 120_000);

describe("a hostile map of characters", () => {
  const units = (...values: readonly number[]) => [
    ...new Uint8Array(Uint32Array.from(values).buffer),
  ];
  const refused: readonly (readonly [string, readonly number[]])[] = [
    ["no size", [1, 2]],
    ["a size of nothing", units(0)],
    ["a size beyond the end", units(8, 0)],
    ["a size that is no multiple of 4", [...units(3), 0, 0, 0]],
    ["a replacement without an end", [...units(4, 0), 0x61]],
    ["a replacement of thousands of bytes", [...units(4, 0), ...new Array(2000).fill(0x61), 0]],
  ];
  it.each(refused)("is refused if it has %s", (_, bytes) => {
    const make = () =>
      createTokenizer(metadataOf(SMALL, { precompiled_charsmap: Int8Array.from(bytes) }));
    expect(make).toThrow(UserError);
    expect(make).toThrow(/^tokenizer\.ggml\.precompiled_charsmap: .*found [^\n]*$/);
  });

  it("is never read beyond its ends, and never walked without end", () => {
    const map = (...values: readonly number[]) =>
      new Charsmap(Uint8Array.from([...units(4 * values.length, ...values), 0x7a, 0]));
    // The root's children are at 97 ^ base: far away, then here, then a circle.
    expect(map(0x7fffffff).replace("aaa")).toBe("aaa");
    const leaf = Array.from({ length: 128 }, () => 0);
    leaf[97] = 97 | (1 << 8) | ((97 ^ 1) << 10); // "a" ends here; its value is at 1
    leaf[1] = 0x80000000;
    expect(map(...leaf).replace("xax")).toBe("xzx");
    leaf[1] = 0x80000000 + 5; // beyond the replacements
    expect(map(...leaf).replace("xax")).toBe("xax");
    leaf[97] = 97 | (1 << 8) | (0x1fffff << 10); // its value is beyond the array
    expect(map(...leaf).replace("xax")).toBe("xax");
    const circle = Array.from({ length: 128 }, () => 0);
    circle[97] = 97 | ((97 ^ 0) << 10); // "a" leads to itself
    const turning = map(...circle);
    expect(turning.replace("a".repeat(200_000))).toHaveLength(200_000);
    expect([...turning.neighbours().before]).toEqual([97]);
  });

  it("changes nothing worse than the text, whatever its bytes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { minLength: 1, maxLength: 300 }),
        fc.string({ unit: "binary", maxLength: 40 }),
        (values, text) => {
          const bytes = Uint8Array.from([...units(4 * values.length, ...values), 0x7a, 0]);
          const map = new Charsmap(bytes);
          expect(map.replace(text).length).toBeLessThanOrEqual(1024 * text.length);
          map.neighbours();
        },
      ),
    );
  });
});
