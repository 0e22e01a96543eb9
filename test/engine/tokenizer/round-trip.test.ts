import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createTokenizer, type Tokenizer } from "../../../src/engine/tokenizer/tokenizer.ts";
import { FIXTURES, fixtureMetadata } from "./vocabularies.ts";

/** Any Unicode text, texts of the kind that tokenizers stumble over, and lone surrogates. */
const unicode = fc.string({ unit: "binary", maxLength: 60 });
const tricky = fc
  .array(
    fc.constantFrom(
      ...[" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u0085", "\ufeff", "\u2581", "\u200d"],
      ...["a", "A", "the", " the", "'LL", "'s", "123", "4", "½", "ö", "é", "e\u0301", "中", "文"],
      ...[
        "👩‍👩‍👧",
        "🇨🇭",
        "<s>",
        "</s>",
        "<0x41>",
        "<unk>",
        "<|eot_id|>",
        "<|end|>",
        "!!",
        ".",
        "\0",
      ],
    ),
    { maxLength: 30 },
  )
  .map((parts) => parts.join(""));
const illFormed = fc
  .array(fc.integer({ min: 0xd700, max: 0xe100 }), { maxLength: 20 })
  .map((units) => String.fromCharCode(...units));

function streamed(tokenizer: Tokenizer, ids: readonly number[], options = {}): string[] {
  const decoder = tokenizer.decoder(options);
  return [...ids.map((id) => decoder.push(id)), decoder.flush()];
}

describe.each(FIXTURES)("%s", async (name) => {
  const tokenizer = createTokenizer(await fixtureMetadata(name));
  const { vocabulary } = tokenizer;
  /** To SentencePiece the mark of a space is a space. */
  const asRead = (text: string) =>
    vocabulary.model === "llama" ? text.replaceAll("\u2581", " ") : text;
  const anyId = fc.nat({ max: vocabulary.size - 1 });

  it("decodes what it encoded to the same text", () => {
    fc.assert(
      fc.property(fc.oneof(unicode, tricky), fc.boolean(), (text, addSpecial) => {
        expect(tokenizer.decode(tokenizer.encode(text, { addSpecial }))).toBe(asRead(text));
      }),
      { numRuns: 1000 },
    );
  });

  it("takes half a surrogate pair for U+FFFD", () => {
    expect(tokenizer.decode(tokenizer.encode("a\ud800b"))).toBe("a\ufffdb");
    fc.assert(
      fc.property(illFormed, (text) => {
        const wellFormed = Buffer.from(text, "utf8").toString("utf8");
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(wellFormed);
        expect(tokenizer.encode(text)).toEqual(tokenizer.encode(wellFormed));
      }),
    );
  });

  it("round-trips every seventh character of Unicode", () => {
    const points = Array.from({ length: 0x110000 }, (_, point) => point);
    const text = points
      .filter((point) => (point < 0xd800 || point > 0xdfff) && point % 7 === 0)
      .map((point) => String.fromCodePoint(point))
      .join("");
    expect(tokenizer.decode(tokenizer.encode(text)) === text).toBe(true);
  });

  it("round-trips the text of every single token", () => {
    const decoder = tokenizer.decoder({ continuation: true });
    const broken: number[] = [];
    for (let id = 0; id < vocabulary.size; id++) {
      const text = decoder.push(id) + decoder.flush();
      if (tokenizer.decode(tokenizer.encode(text, { addSpecial: false })) !== text) broken.push(id);
    }
    expect(broken).toEqual([]);
  });

  it("streams the text that it decodes at once, for any tokens", () => {
    fc.assert(
      fc.property(
        fc.array(anyId, { maxLength: 40 }),
        fc.record({ special: fc.boolean(), continuation: fc.boolean() }),
        (ids, options) => {
          const pieces = streamed(tokenizer, ids, options);
          expect(pieces.join("")).toBe(tokenizer.decode(ids, options));
        },
      ),
      { numRuns: 500 },
    );
  });

  it("never streams half a character", () => {
    fc.assert(
      fc.property(fc.oneof(unicode, tricky), (text) => {
        const pieces = streamed(tokenizer, tokenizer.encode(text));
        for (const piece of pieces) expect(piece).not.toMatch(/\p{Surrogate}/u);
        // A half would show as U+FFFD, and more of them than the text has itself.
        expect(pieces.join("").split("\ufffd")).toHaveLength(text.split("\ufffd").length);
        expect(pieces.at(-1)).toBe("");
      }),
      { numRuns: 500 },
    );
  });

  it("takes long runs and long words in its stride", () => {
    // Quadratic behaviour would take minutes here; the limit is generous for a busy machine.
    const runs = [" ", "a", "A", "!", "1", "\n", "中", "a\u0301", " \n"].map((unit) =>
      unit.repeat(20_000),
    );
    for (const run of [
      ...runs,
      `${" ".repeat(200_000)}x`,
      "a".repeat(200_000),
      `${"\t ".repeat(20_000)}!`,
    ]) {
      const start = performance.now();
      const ids = tokenizer.encode(run);
      expect(performance.now() - start).toBeLessThan(5000);
      expect(tokenizer.decode(ids) === run).toBe(true);
    }
  });

  it.each([-1, 0.5, Number.NaN, vocabulary.size])("names the id %d as none of its own", (id) => {
    const message = `Token id ${id} is not in the vocabulary: it has ${vocabulary.size} tokens, 0 to ${vocabulary.size - 1}.`;
    expect(() => tokenizer.decode([id])).toThrow(message);
    expect(() => tokenizer.decoder().push(id)).toThrow(message);
  });
});
