import { describe, expect, it } from "vitest";
import { createTokenizer } from "../../../src/engine/tokenizer/tokenizer.ts";
import { FIXTURES, fixtureMetadata, fixtureVectors } from "./vocabularies.ts";

describe.each(FIXTURES)("llama.cpp's vectors for %s", async (name) => {
  const tokenizer = createTokenizer(await fixtureMetadata(name));
  const vectors = await fixtureVectors(name);

  it("has them all", () => {
    expect(vectors).toHaveLength(47);
    expect(vectors.filter(({ ids }) => ids.length > 0)).toHaveLength(45); // two texts are empty
    expect(tokenizer.vocabulary.warnings).toEqual([]);
  });

  it.each(vectors)("$text", ({ text, ids }) => {
    expect(tokenizer.encode(text, { addSpecial: false })).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(text);
  });
});
