// Texts of the kind that tokenizers stumble over, for properties.

import fc from "fast-check";

const WORDS = [
  ..."the quick brown fox unbelievable counterrevolutionary a I I'm we'LL don't 3.14159 2026".split(
    " ",
  ),
  ..."Привет мир здравствуйте 東京、 こんにちは。 中文，今天 안녕하세요 שלום مرحبا، ไทย नमस्ते १२३ 〇一".split(
    " ",
  ),
  ..."👩‍👩‍👧‍👦 🙂 🏳️‍🌈 é e\u0301 \u{1F1EB}\u{1F1F7} 𝔘𝔫𝔦 \u{1E900} \ufffd \ufeff ½".split(" "),
  ..."const x = (a) => a?.b ?? [0x1f]; // TODO HTTPServer iPhoneOS path://a/b #include<stdio.h> `q` ''".split(
    " ",
  ),
  ..."<|im_end|> </s> <s> <unk> <0x41> <|endoftext|> <|eot_id|> <|end|> <|assistant|>".split(" "),
];
const SPACES = [
  ...[" ", " ", " ", "", "", "  ", "    ", "\n", "\n\n", "\n\n\n", "\t", "\r\n", " \n ", "\n/"],
  ...[". ", ", ", "! ", "!\n", "\u00a0", "\u0085", "\u3000", "\u2028", "\v"],
];

const words = fc
  .array(fc.tuple(fc.constantFrom(...WORDS), fc.constantFrom(...SPACES)), {
    maxLength: 40,
    size: "max",
  })
  .map((parts) => parts.flat().join(""));

/** No U+2581, which SentencePiece reads as a space: such texts do not come back. Words of several scripts, emoji, code, special tokens, runs of blanks; any Unicode; halves of surrogate pairs. */
export const anyText = fc.oneof(
  { arbitrary: words, weight: 6 },
  { arbitrary: fc.string({ unit: "binary", maxLength: 60 }), weight: 1 },
  {
    arbitrary: fc
      .array(
        fc.oneof(
          fc.integer({ min: 0xd7f0, max: 0xe010 }),
          fc.constantFrom(0x20, 0x61, 0x2e, 0x0a, 0xd83d, 0xde42),
        ),
        { maxLength: 30 },
      )
      .map((units) => String.fromCharCode(...units)),
    weight: 1,
  },
);

/** A text and its parts, cut anywhere, in the middle of surrogate pairs too; some parts are empty. */
export const textInParts = fc
  .tuple(anyText, fc.array(fc.nat({ max: 400 }), { maxLength: 12 }))
  .map(([text, places]) => {
    const cuts = [0, ...places.map((at) => Math.min(at, text.length)), text.length];
    cuts.sort((a, b) => a - b);
    return { text, parts: cuts.slice(1).map((cut, i) => text.slice(cuts[i], cut)) };
  });

/** All that comes, once it has come. */
export async function gather<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of source) all.push(one);
  return all;
}
