import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  findPreTokenizer,
  type PreTokenizer,
  splitPieces,
} from "../../../src/engine/tokenizer/algorithms/pre-tokenizer.ts";
import { UserError } from "../../../src/errors.ts";

/** Worked out by hand from the expressions; "|" stands between the pieces and is in none of them. */
const CASES: Record<string, readonly string[]> = {
  "llama-bpe": [
    "Hello| world|!",
    "I|'m| we|'LL| they|'Ve| o|'clock",
    "123|456|78",
    "½¼",
    "x|=|1|;\n|y",
    "a|  | b|\tc",
    "a| \n\n|  | b",
    "end|   ",
    "中文|，字",
    // A combining mark is no letter.
    "ünï|\u0301x",
    // The no-break space and NEXT LINE are white space, the byte order mark is none: JavaScript's own
    // \s is of another opinion on the last two.
    " |\u00a0word",
    "a|\u0085|!",
    "a|\ufeff!",
  ],
  "smaug-bpe": ["123|456|78"],
  qwen2: ["Hello| world|1|2|3", "a|'S|b", "x|!!\n\n|y"],
  qwen35: ["ünï\u0301x| y|1|2"],
  "gpt-2": [
    "Hello| world|!",
    "I|'m| we|'|LL",
    " 123456| 7",
    "a|  | b",
    "a|\n|b",
    "a|\n\n|\n|b",
    "end|   ",
    " !?|x",
  ],
  smollm: ["abc|1|2|3| |4|x", "a| b|1"],
  // The last of the capitals begins a word, in any script; marks stay with their letters.
  tekken: [
    ...["Hello|World", "HTTPServer", "i|Phone|OS", " Éa|1|2", "path|://|a|/b", "x|!/\n/|y"],
    ...["नमस्ते| दुनिया", "Привет|Мир", "a\u0301| e\u0308x"],
  ],
  default: ["Hello| world|!!", "a|,|b", "x|=|y", "123|456|7", " |12|x", "a| `|b"],
  falcon: ["a| |`|b", "123|456|7"],
  "gpt-4o": ["Hello|World's|123|4", "HTTPServer's"],
  "deepseek-llm": ["Hello| world| !!", "a|\n|\n|b", "中文|abc|12345", "a|   "],
  "deepseek-coder": ["Hello| world| !!|1|2"],
  "deepseek-v3": ["a|中文|b", "123|4", "#include| <|stdio|.h|>"],
};

describe.each(Object.entries(CASES))("%s", (name, cases) => {
  const { stages } = findPreTokenizer(name);

  it.each(cases)("%j", (pieces) => {
    expect(splitPieces(pieces.replaceAll("|", ""), stages).join("|")).toBe(pieces);
  });

  it("loses nothing, whatever the text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const pieces = splitPieces(text, stages);
        expect(pieces.join("")).toBe(text);
        expect(pieces).not.toContain("");
      }),
    );
  });
});

interface Pieces {
  readonly texts: readonly string[];
  /** By name and text: how many UTF-16 units the pieces have, with "|" between them. */
  readonly pieces: Record<string, readonly string[]>;
}

/** Written by pieces.py: Hugging Face's tokenizers with the models' own expressions. */
const { texts, pieces }: Pieces = JSON.parse(
  readFileSync(new URL("../../fixtures/tokenizers/pieces.json", import.meta.url), "utf8"),
);

it.each(Object.keys(pieces))("%s cuts 93 texts as Hugging Face's tokenizers do", (name) => {
  const { stages } = findPreTokenizer(name);
  const ours = texts.map((text) =>
    splitPieces(text, stages)
      .map(({ length }) => length)
      .join("|"),
  );
  expect(texts).toHaveLength(93);
  expect(ours).toEqual(pieces[name]);
});

describe("findPreTokenizer", () => {
  // llama.cpp gives GPT-2's vocabulary the same tokens under either name.
  it.each([
    ["midm-2.0", "llama-bpe"],
    ["a.x-4.0", "gpt-2"],
    ["mellum", "gpt-2"],
    ["mellum2", "starcoder"],
    ["kormo", "qwen2"],
    ["f2llmv2", "qwen2"],
    ["solar-open", "qwen2"],
    ["grok-2", "qwen2"],
    ["bailingmoe2", "qwen2"],
    ["llada-moe", "qwen2"],
    ["kanana2", "gpt-4o"],
    ["minimax-m2", "gpt-4o"],
    ["joyai-llm", "deepseek-v3"],
    ["poro-chat", "bloom"],
    ["roberta-bpe", "gpt-2"],
    ["jina-v2-code", "gpt-2"],
    ["granite-embed-multi-97m", "gpt-4o"],
    ["cohere2moe", "tiny_aya"],
  ])("%s has the rules of %s", (name, other) => {
    const rules = ({ stages, ignoreMerges, addBos }: PreTokenizer) =>
      [stages, ignoreMerges, addBos] as const;
    expect(rules(findPreTokenizer(name))).toEqual(rules(findPreTokenizer(other)));
  });

  it("refuses a name that it does not know, and says which it knows", () => {
    expect(() => findPreTokenizer("sarvam-moe")).toThrow(UserError);
    expect(() => findPreTokenizer("sarvam-moe")).toThrow(
      /^tokenizer\.ggml\.pre is "sarvam-moe", .* it knows default, gpt-2, .*llama-bpe, .*qwen2, .*tekken/,
    );
    expect(() => findPreTokenizer("toString")).toThrow(UserError);
  });

  it.each([
    ["llama-bpe", true, true],
    ["tekken", true, true],
    ["gpt-4o", true, false],
    ["minicpm5", true, false],
    ["smaug-bpe", false, false],
    ["qwen2", false, false],
    ["gpt-2", false, false],
    ["kimi-k2", true, false],
    ["youtu", true, false],
    ["chameleon", false, true],
    ["jais-2", false, false],
  ])("%s: ignoreMerges %s, addBos %s", (name, ignoreMerges, addBos) => {
    expect(findPreTokenizer(name)).toMatchObject({ ignoreMerges, addBos });
  });
});
