import { describe, expect, test } from "vitest";
import { GgufError } from "../../../src/engine/gguf/gguf.ts";
import { Metadata, type MetadataValue } from "../../../src/engine/gguf/metadata.ts";

const values: Record<string, MetadataValue> = {
  word: "llama",
  flag: false,
  layers: 5,
  epsilon: 1e-5,
  huge: 2n ** 63n,
  words: ["a", "b"],
  flags: [true, false],
  scores: Float32Array.of(0.5, 1),
  kinds: Int32Array.of(1, 3),
  wide: BigUint64Array.of(7n, 8n),
  tooWide: BigUint64Array.of(2n ** 63n),
  none: [],
};
const metadata = new Metadata({ name: "m.gguf", metadata: new Map(Object.entries(values)) });

describe("a key that is there", () => {
  test.each([
    ["string", () => metadata.string("word"), "llama"],
    ["boolean", () => metadata.boolean("flag", true), false],
    ["integer", () => metadata.integer("layers", 9), 5],
    ["number", () => metadata.number("epsilon"), 1e-5],
    ["number from an integer", () => metadata.number("layers"), 5],
    ["strings", () => metadata.strings("words"), ["a", "b"]],
    ["booleans", () => metadata.booleans("flags"), [true, false]],
    ["integers", () => metadata.integers("kinds"), [1, 3]],
    ["integers of 64 bits", () => metadata.integers("wide"), [7, 8]],
    ["numbers", () => metadata.numbers("scores"), Float32Array.of(0.5, 1)],
    ["numbers of 64 bits", () => metadata.numbers("wide"), [7, 8]],
    ["an empty array of any type", () => metadata.strings("none"), []],
    ["one integer for all layers", () => metadata.integerPerLayer("layers", 3), [5, 5, 5]],
    ["an integer a layer", () => metadata.integerPerLayer("kinds", 2), [1, 3]],
  ] as const)("%s", (_, read, value) => {
    expect(read()).toEqual(value);
  });
});

test("a key that is absent gives the default, whatever its type", () => {
  expect(metadata.integer("absent", 32)).toBe(32);
  expect(metadata.string("absent", null)).toBeNull();
  expect(metadata.boolean("absent", false)).toBe(false);
  expect(metadata.integerPerLayer("absent", 2, null)).toBeNull();
  expect([metadata.has("absent"), metadata.has("flag")]).toEqual([false, true]);
});

describe("refuses", () => {
  test.each([
    [
      "an absent key",
      () => metadata.integer("absent"),
      /absent to hold an integer, found no such key/,
    ],
    [
      "text for an integer",
      () => metadata.integer("word", 1),
      /word to hold an integer, found the string "llama"/,
    ],
    ["a fraction for an integer", () => metadata.integer("epsilon"), /found the number 0.00001/],
    [
      "an integer beyond 2^53",
      () => metadata.integer("huge"),
      /found the bigint 9223372036854775808/,
    ],
    [
      "an item beyond 2^53",
      () => metadata.integers("tooWide"),
      /found an array of 1 items of type bigint/,
    ],
    ["a number for text", () => metadata.string("layers"), /a string, found the number 5/],
    ["a number for a boolean", () => metadata.boolean("layers"), /a boolean, found the number 5/],
    ["text for a number", () => metadata.number("word"), /a number, found the string/],
    ["strings for numbers", () => metadata.numbers("words"), /array of 2 items of type string/],
    [
      "fractions for integers",
      () => metadata.integers("scores"),
      /array of 2 items of type number/,
    ],
    ["numbers for strings", () => metadata.strings("kinds"), /an array of strings, found an array/],
    ["numbers for booleans", () => metadata.booleans("kinds"), /an array of booleans, found/],
    [
      "a scalar for an array",
      () => metadata.strings("word"),
      /an array of strings, found the string/,
    ],
    [
      "an array of other length",
      () => metadata.integerPerLayer("kinds", 3),
      /array of 3, one a layer/,
    ],
  ] as const)("%s", (_, read, message) => {
    expect(read).toThrow(GgufError);
    expect(read).toThrow(message);
    expect(read).toThrow(/^m\.gguf: /);
  });
});
