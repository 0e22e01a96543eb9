import { describe, expect, it } from "vitest";
import { createTokenizer } from "../../../src/engine/tokenizer/tokenizer.ts";
import { readVocabulary } from "../../../src/engine/tokenizer/vocabulary.ts";
import { UserError } from "../../../src/errors.ts";
import {
  BYTE,
  bpeMetadata,
  CONTROL,
  type Metadata,
  NORMAL,
  spmMetadata,
  USER_DEFINED,
} from "./vocabularies.ts";

const spm = (more = {}) => spmMetadata([["▁a", -1, NORMAL]], more);
const bpe = (more = {}) => bpeMetadata(["a b"], [["<|eot_id|>", 0, CONTROL]], more);

function without(metadata: Metadata, name: string): Metadata {
  metadata.delete(`tokenizer.ggml.${name}`);
  return metadata;
}

/** The file with one of its tokens spelled differently. */
function respelled(metadata: Metadata, id: number, text: string): Metadata {
  const tokens = [...(metadata.get("tokenizer.ggml.tokens") as string[])];
  tokens[id] = text;
  return metadata.set("tokenizer.ggml.tokens", tokens);
}

describe("a hostile vocabulary is refused by name", () => {
  it.each<[string, Metadata, RegExp]>([
    ["no metadata at all", new Map(), /tokenizer\.ggml\.model/],
    ["a model of another kind", spm({ model: "rwkv" }), /"rwkv" \(RWKV\).*llama, gpt2, bert/],
    ["a model of an unknown kind", spm({ model: "x\ny" }), /"x\\ny"; dawnstream supports/],
    ["an unknown pre-tokenizer", bpe({ pre: "sarvam-moe" }), /"sarvam-moe"/],
    ["a model that is no string", spm({ model: 3 }), /tokenizer\.ggml\.model/],
    ["no tokens", without(spm(), "tokens"), /tokenizer\.ggml\.tokens/],
    ["an empty list of tokens", spm({ tokens: [] }), /at least one token/],
    ["tokens that are numbers", spm({ tokens: new Int32Array(4) }), /tokenizer\.ggml\.tokens/],
    ["too few scores", spm({ scores: new Float32Array(259) }), /scores: .*260 tokens, found 259/],
    ["a score that is NaN", spm({ scores: new Float32Array(260).fill(Number.NaN) }), /NaN/],
    ["too few types", spm({ token_type: new Int32Array(9) }), /token_type: .*260 tokens, found 9/],
    ["a token twice", respelled(spm(), 259, "<s>"), /every token once, found "<s>" as 1 and 259/],
    ["no merges", without(bpe(), "merges"), /tokenizer\.ggml\.merges/],
    ["a flag that is a number", spm({ add_bos_token: 1 }), /add_bos_token/],
    ["an id that is a string", spm({ bos_token_id: "1" }), /bos_token_id/],
  ])("%s", (_, metadata, message) => {
    expect(() => createTokenizer(metadata)).toThrow(UserError);
    expect(() => createTokenizer(metadata)).toThrow(message);
    expect(() => createTokenizer(metadata)).not.toThrow(/\n/);
  });
});

describe("where the file is silent", () => {
  it("SentencePiece has BOS 1, EOS 2, unknown 0, and adds BOS and a space", () => {
    expect(readVocabulary(spm())).toMatchObject({
      ...{ model: "llama", size: 260, bos: 1, eos: 2, unk: 0, eot: undefined, pad: undefined },
      ...{ addBos: true, addEos: false, addSpacePrefix: true, warnings: [] },
    });
  });

  it("byte-level vocabularies have and add nothing", () => {
    expect(readVocabulary(bpe())).toMatchObject({
      ...{ model: "gpt2", size: 258, bos: undefined, eos: undefined, unk: undefined, eot: 257 },
      ...{ addBos: false, addEos: false, addSpacePrefix: false, warnings: [] },
    });
  });

  it("Llama 3's family adds BOS", () => {
    expect(readVocabulary(bpe({ pre: "llama-bpe", bos_token_id: 5 })).addBos).toBe(true);
    const silenced = bpe({ pre: "llama-bpe", bos_token_id: 5, add_bos_token: false });
    expect(readVocabulary(silenced).addBos).toBe(false);
  });

  it("a missing pre-tokenizer is the default one, with a warning", () => {
    const { warnings } = readVocabulary(without(bpe(), "pre"));
    expect(warnings).toEqual([expect.stringContaining("tokenizer.ggml.pre is missing")]);
  });

  it("tokens without types are normal, but for SentencePiece's bytes", () => {
    const vocabulary = readVocabulary(without(spm(), "token_type"));
    expect([1, 68, 259].map(vocabulary.type)).toEqual(["normal", "byte", "normal"]);
  });
});

describe("what llama.cpp loads is no reason to refuse a model", () => {
  it("no scores: all pieces are equal, and the leftmost pair is joined first", () => {
    const pieces = ["a", "b", "c", "ab", "bc"].map((text) => [text, -9, NORMAL] as const);
    const metadata = without(spmMetadata(pieces, { add_space_prefix: false }), "scores");
    expect(createTokenizer(metadata).encode("abc", { addSpecial: false })).toEqual([262, 261]);
  });

  it.each([7, -1, 99])("tokens of type %d are normal, with a warning", (type) => {
    const metadata = spmMetadata([["b", -1, type]], { add_space_prefix: false });
    const tokenizer = createTokenizer(metadata);
    expect(tokenizer.encode("b", { addSpecial: false })).toEqual([259]);
    expect(tokenizer.decode([259])).toBe("b");
    expect(tokenizer.vocabulary.warnings).toEqual([
      expect.stringContaining(`1 tokens (the first is 259, "b" of type ${type})`),
    ]);
  });

  it("a byte that is none is normal, with a warning", () => {
    const { type, warnings } = readVocabulary(spmMetadata([["ab", -1, BYTE]]));
    expect(type(259)).toBe("normal");
    expect(warnings).toEqual([expect.stringContaining('"ab" of type 6')]);
  });

  it("a merge of one text joins nothing", () => {
    const merges = ["alone", "a b"];
    expect(createTokenizer(bpeMetadata(["a b"], [], { merges })).encode("abc")).toEqual([256, 99]);
  });

  it.each([
    ["BOS", { add_bos_token: true }],
    ["EOS", { add_eos_token: true }],
    ["BOS", { add_bos_token: true, bos_token_id: 9999 }],
    ["BOS", { pre: "llama-bpe" }], // adds BOS unless told otherwise
  ])("%s that is none is not added, with a warning", (name, more) => {
    const { vocabulary, encode } = createTokenizer(bpe(more));
    expect([vocabulary.addBos, vocabulary.addEos]).toEqual([false, false]);
    expect(encode("a")).toEqual([97]);
    expect(vocabulary.warnings.at(-1)).toMatch(new RegExp(`asks for ${name} .* none is added`));
  });
});

describe("special ids", () => {
  it("are read from the file", () => {
    const given = { bos_token_id: 7, eos_token_id: 8, eot_token_id: 9, eom_token_id: 10 };
    const more = { unknown_token_id: 11, padding_token_id: 12 };
    const vocabulary = readVocabulary(spm({ ...given, ...more }));
    expect(vocabulary).toMatchObject({ bos: 7, eos: 8, eot: 9, eom: 10, unk: 11, pad: 12 });
    expect(vocabulary.endOfGeneration).toEqual(new Set([8, 9, 10, 2]));
  });

  it("outside the vocabulary fall back, with a warning", () => {
    const { bos, pad, warnings } = readVocabulary(
      spm({ bos_token_id: 260, padding_token_id: 0xffffffff }),
    );
    expect([bos, pad]).toEqual([1, undefined]);
    expect(warnings).toEqual([
      "tokenizer.ggml.bos_token_id is 260, outside the vocabulary of 260 tokens; 1 is used instead.",
      "tokenizer.ggml.padding_token_id is 4294967295, outside the vocabulary of 260 tokens; it is ignored.",
    ]);
  });

  it("that end a generation are found by their spelling", () => {
    const specials = ["<|im_end|>", "<|endoftext|>", "<|eom_id|>", "<|im_start|>"];
    const { endOfGeneration, eot, eom } = readVocabulary(
      bpeMetadata(
        [],
        specials.map((text) => [text, 0, CONTROL]),
      ),
    );
    expect(endOfGeneration).toEqual(new Set([256, 257, 258]));
    expect([eot, eom]).toEqual([256, 258]);
  });

  it("typed as text become control tokens, with a warning", () => {
    const specials = [
      ["<|im_end|>", 0, NORMAL],
      ["</s>", 0, USER_DEFINED],
    ] as const;
    const { type, warnings } = readVocabulary(bpeMetadata([], specials));
    expect([type(256), type(257)]).toEqual(["control", "control"]);
    expect(warnings).toEqual([expect.stringContaining('Token 256, "<|im_end|>"')]);
  });

  it("that the file names stay what they are, even a line feed", () => {
    const { endOfGeneration, type } = readVocabulary(bpe({ eos_token_id: 10 }));
    expect(endOfGeneration).toEqual(new Set([10, 257]));
    expect(type(10)).toBe("normal");
  });
});

describe("what a user should know", () => {
  it("a byte-level vocabulary without all bytes loses text", () => {
    const metadata = respelled(bpe(), 65, "[gone]");
    expect(readVocabulary(metadata).warnings).toEqual([
      expect.stringMatching(/^1 of the 256 bytes are no tokens \(the first is "A"\)/),
    ]);
    expect(createTokenizer(metadata).encode("A!")).toEqual([33]);
  });

  it("a space prefix has no effect on a byte-level vocabulary", () => {
    const { addSpacePrefix, warnings } = readVocabulary(bpe({ add_space_prefix: true }));
    expect(addSpacePrefix).toBe(false);
    expect(warnings).toEqual([expect.stringContaining("add_space_prefix")]);
  });

  it("an empty token is renamed", () => {
    const { text, id } = readVocabulary(respelled(spm(), 259, ""));
    expect(text(259)).toBe("[EMPTY_259]");
    expect(id("[EMPTY_259]")).toBe(259);
  });
});
