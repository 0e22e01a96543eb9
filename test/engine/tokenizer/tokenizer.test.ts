import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { MetadataValue } from "../../../src/engine/gguf/gguf.ts";
import { createTokenizer } from "../../../src/engine/tokenizer/tokenizer.ts";
import {
  bpeMetadata,
  CONTROL,
  fixtureMetadata,
  NORMAL,
  spmMetadata,
  UNKNOWN,
  UNUSED,
  USER_DEFINED,
} from "./vocabularies.ts";

const withoutSpecial = { addSpecial: false };
const byteId = (byte: number) => 3 + byte;

describe("SentencePiece", () => {
  const A = 259;
  const B = 260;
  const C = 261;
  const AB = 262;
  const BC = 263;
  const SPACE = 264;
  const pieces = (ab: number, bc: number) =>
    spmMetadata([
      ["a", -9, NORMAL],
      ["b", -9, NORMAL],
      ["c", -9, NORMAL],
      ["ab", ab, NORMAL],
      ["bc", bc, NORMAL],
      ["▁", -9, NORMAL],
      ["<u>", 0, USER_DEFINED],
    ]);
  const encode = (ab: number, bc: number, text: string) =>
    createTokenizer(pieces(ab, bc)).encode(text, withoutSpecial);

  it("joins the pair with the highest score first, the leftmost of equals", () => {
    expect(encode(-1, -2, "abc")).toEqual([SPACE, AB, C]);
    expect(encode(-2, -1, "abc")).toEqual([SPACE, A, BC]);
    expect(encode(-1, -1, "abc")).toEqual([SPACE, AB, C]);
  });

  it("spells what it has no piece for in bytes", () => {
    expect(encode(-1, -1, "aé")).toEqual([SPACE, A, byteId(0xc3), byteId(0xa9)]);
  });

  it("reads the mark of a space in a text as a space", async () => {
    expect(encode(-1, -1, "a▁b")).toEqual([SPACE, A, SPACE, B]);
    const llama = createTokenizer(await fixtureMetadata("llama-spm"));
    const ids = (text: string) => llama.encode(text, withoutSpecial);
    // By llama.cpp.
    expect(ids("a▁▁b")).toEqual([263, 29871, 289]);
    expect(ids("x▁y")).toEqual([921, 343]);
  });

  it("reads the mark in user-defined tokens as a space, as old converters of Gemma spelled them", () => {
    const gemma = createTokenizer(
      spmMetadata(
        [
          ["▁", -9, NORMAL],
          ["▁▁", -1, USER_DEFINED],
          ["a", -9, NORMAL],
        ],
        { add_space_prefix: false },
      ),
    );
    expect(gemma.encode("a  a", withoutSpecial)).toEqual([261, 260, 261]);
    expect(gemma.decode([261, 260, 261])).toBe("a  a");
  });

  it("gives one unknown token for a run of characters without tokens, as SentencePiece does", () => {
    const { pieces, texts } = JSON.parse(
      readFileSync(
        new URL("../../fixtures/tokenizers/sentencepiece-without-bytes.json", import.meta.url),
        "utf8",
      ),
    ) as { pieces: [string, number, number][]; texts: { text: string; ids: number[] }[] };
    const metadata = new Map<string, MetadataValue>([
      ["tokenizer.ggml.model", "llama"],
      ["tokenizer.ggml.tokens", pieces.map(([text]) => text)],
      ["tokenizer.ggml.scores", Float32Array.from(pieces, ([, score]) => score)],
      ["tokenizer.ggml.token_type", Int32Array.from(pieces, ([, , type]) => type)],
    ]);
    const tokenizer = createTokenizer(metadata);
    expect(texts.length).toBeGreaterThan(8);
    for (const { text, ids } of texts) {
      expect(tokenizer.encode(text, withoutSpecial), text).toEqual(ids);
      const encoder = tokenizer.encoder(withoutSpecial);
      const parts = [...[...text].flatMap((part) => encoder.push(part)), ...encoder.flush()];
      expect(parts, text).toEqual(ids);
    }
    expect(tokenizer.vocabulary.warnings).toEqual([]);
  });

  it("gives bytes only for a character that has all of them", () => {
    const some = spmMetadata([["a", -9, NORMAL]], { add_space_prefix: false });
    const tokens = some.get("tokenizer.ggml.tokens") as string[];
    tokens[byteId(0xa9)] = "gone"; // of "é", c3 a9
    some.delete("tokenizer.ggml.token_type");
    const tokenizer = createTokenizer(some);
    expect(tokenizer.encode("aèé🙂", withoutSpecial)).toEqual([
      ...[259, byteId(0xc3), byteId(0xa8), 0, ...[0xf0, 0x9f, 0x99, 0x82].map(byteId)],
    ]);
  });

  it("takes a byte by itself for its token where there is no other", () => {
    const raw = spmMetadata([["a", -9, NORMAL]], { add_space_prefix: false });
    const tokens = raw.get("tokenizer.ggml.tokens") as string[];
    for (let byte = 0x80; byte < 0x100; byte++) {
      tokens[byteId(byte)] = String.fromCharCode(0xdc00 + byte);
    }
    (raw.get("tokenizer.ggml.token_type") as Int32Array).fill(NORMAL, byteId(0x80), byteId(0x100));
    const tokenizer = createTokenizer(raw);
    const ids = [259, ...[0xc3, 0xa9, 0xf0, 0x9f, 0x99, 0x82].map(byteId)];
    expect(tokenizer.encode("aé🙂", withoutSpecial)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe("aé🙂");
  });

  it("joins halves of characters that are tokens", () => {
    const halves = ["\udcf0\udc9f", "\udc99\udc82", "caf\udcc3", "\udca9!"];
    const tokenizer = createTokenizer(
      spmMetadata(halves.map((text) => [text, -1, NORMAL] as const)),
    );
    expect(tokenizer.decode([259, 260, 261, 262])).toBe("🙂café!");
    expect(halves.map(tokenizer.vocabulary.id)).toEqual([259, 260, 261, 262]);
    // Half a pair in a text is no such byte.
    expect(tokenizer.encode("\udc99\udc82")).toEqual(tokenizer.encode("\ufffd\ufffd"));
  });

  it("joins characters that are no pieces themselves", () => {
    const tokenizer = createTokenizer(
      spmMetadata([["xy", -1, NORMAL]], { add_space_prefix: false }),
    );
    expect(tokenizer.encode("xyx", withoutSpecial)).toEqual([259, byteId(0x78)]);
  });

  it("puts a space in front of a text and after every special token, unless told not to", () => {
    const tokenizer = createTokenizer(pieces(-1, -1));
    expect(tokenizer.encode("a<u>b")).toEqual([1, SPACE, A, 265, SPACE, B]);
    expect(tokenizer.encode("")).toEqual([1]);
    expect(tokenizer.encode("", withoutSpecial)).toEqual([]);
    const plain = createTokenizer(
      new Map(pieces(-1, -1)).set("tokenizer.ggml.add_space_prefix", false),
    );
    expect(plain.encode("a<u>b")).toEqual([1, A, 265, B]);
    expect(plain.decode([SPACE, A])).toBe(" a");
  });

  it("puts nothing in front of a text that goes on from another", () => {
    const tokenizer = createTokenizer(pieces(-1, -1));
    expect(tokenizer.encode("a<u>b", { continuation: true })).toEqual([A, 265, SPACE, B]);
    expect(tokenizer.encode("", { continuation: true })).toEqual([]);
  });

  it("takes one space at the start away again, but not where a text is continued", () => {
    const tokenizer = createTokenizer(pieces(-1, -1));
    expect(tokenizer.decode([1, SPACE, A])).toBe("a");
    expect(tokenizer.decode([SPACE, SPACE, A])).toBe(" a");
    expect(tokenizer.decode([A, SPACE, A])).toBe("a a");
    expect(tokenizer.decode([SPACE, A], { continuation: true })).toBe(" a");
    const decoder = tokenizer.decoder({ continuation: true });
    expect([decoder.push(SPACE), decoder.push(A), decoder.flush()]).toEqual([" ", "a", ""]);
    const reused = tokenizer.decoder();
    for (const _ of "12") {
      expect([reused.push(SPACE), reused.push(A), reused.flush()]).toEqual(["", "a", ""]);
    }
  });

  it("never takes typed text for a control, unknown or byte token, or an unused one", () => {
    const tokenizer = createTokenizer(
      spmMetadata([
        ...[..."<s>0x41unkab"]
          .filter((c, at, all) => all.indexOf(c) === at)
          .map((character) => [character, -9, NORMAL] as const),
        ...["<s", "<0", "<0x", "<0x4", "<0x41", "<u", "<un", "<unk"].map(
          (text) => [text, -1, NORMAL] as const,
        ),
        ["ab", -1, UNUSED],
      ]),
    );
    for (const text of ["<s>", "<0x41>", "<unk>", "ab"]) {
      const ids = tokenizer.encode(text, withoutSpecial);
      expect(ids.map(tokenizer.vocabulary.type)).not.toContain("control");
      expect(ids.map(tokenizer.vocabulary.type)).not.toContain("unknown");
      expect(ids.map(tokenizer.vocabulary.type)).not.toContain("unused");
      expect(tokenizer.decode(ids)).toBe(text);
    }
  });
});

describe("byte-level BPE", () => {
  it("joins in the order of the merges", () => {
    const encode = (merges: string[], text: string) =>
      createTokenizer(bpeMetadata(merges)).encode(text);
    expect(encode(["a b", "b c"], "abc")).toEqual([256, 99]);
    expect(encode(["b c", "a b"], "abc")).toEqual([97, 256]);
    expect(encode(["b c", "a bc"], "abcabc")).toEqual([257, 257]);
  });

  it("goes by the first of equal merges", () => {
    const metadata = bpeMetadata(["a b", "b c"], [], { merges: ["a b", "b c", "a b"] });
    expect(createTokenizer(metadata).encode("abc")).toEqual([256, 99]);
  });

  it("never merges into a control token", () => {
    const token = [["abc", 0, CONTROL]] as const;
    const metadata = bpeMetadata(["a b"], token, { merges: ["a b", "ab c"] });
    expect(createTokenizer(metadata).encode("abc")).toEqual([97, 98, 99]);
    metadata.set("tokenizer.ggml.pre", "smaug-bpe");
    expect(createTokenizer(metadata).encode("abc", { parseSpecial: true })).toEqual([257]);
  });

  it("takes a whole piece that is a token, where merges are ignored", () => {
    const token = [["abc", 0, NORMAL]] as const; // which no merge makes
    const encode = (pre: string) =>
      createTokenizer(bpeMetadata(["a b"], token, { pre, add_bos_token: false })).encode("abc");
    expect(encode("llama-bpe")).toEqual([257]);
    expect(encode("qwen2")).toEqual([256, 99]);
  });

  it("falls back to bytes where merges end in no token", () => {
    const metadata = bpeMetadata(["a b"], [], { merges: ["a b", "b c", "ab c"] });
    expect(createTokenizer(metadata).encode("abc")).toEqual([97, 98, 99]);
  });

  it("gives tokens spelled outside the byte alphabet as they are", () => {
    const tokenizer = createTokenizer(bpeMetadata([], [["中 x", 0, NORMAL]]));
    expect(tokenizer.decode([256])).toBe("中 x");
  });
});

describe("special tokens", () => {
  const tokenizer = createTokenizer(
    bpeMetadata(
      [],
      [
        ["<|a|>", 0, CONTROL],
        ["<|a|><|b|>", 0, CONTROL],
        ["<unk>", 0, UNKNOWN],
        ["(u)", 0, USER_DEFINED],
      ],
    ),
  );
  const bytes = (text: string) => [...Buffer.from(text)];

  it("are text, unless they are asked for; user-defined ones always are tokens", () => {
    expect(tokenizer.encode("<|a|>")).toEqual(bytes("<|a|>"));
    expect(tokenizer.encode("x(u)<unk>")).toEqual([120, 259, ...bytes("<unk>")]);
    expect(tokenizer.encode("x<|a|>y(u)<unk>", { parseSpecial: true })).toEqual([
      ...[120, 256, 121, 259, 258],
    ]);
  });

  it("go to the longest", () => {
    const ids = tokenizer.encode("<|a|><|a|><|b|>", { parseSpecial: true });
    expect(ids).toEqual([256, 257]);
  });

  it("give no text, unless it is asked for", () => {
    const ids = [256, 120, 258, 259];
    expect(tokenizer.decode(ids)).toBe("x(u)");
    expect(tokenizer.decode(ids, { special: true })).toBe("<|a|>x<unk>(u)");
  });

  it("of Phi-3 take the white space after them along", async () => {
    const phi3 = createTokenizer(await fixtureMetadata("phi-3"));
    const encode = (text: string) => phi3.encode(text, { addSpecial: false, parseSpecial: true });
    expect(encode("<|user|> \n Hello<|end|>\n")).toEqual(encode("<|user|>Hello<|end|>"));
    expect(encode("<s> Hello")).not.toEqual(encode("<s>Hello"));
    expect([...phi3.vocabulary.endOfGeneration]).toEqual(expect.arrayContaining([32000, 32007]));
  });

  it("of Jina v2 take the white space before <mask> along", () => {
    const jina = createTokenizer(bpeMetadata([], [["<mask>", 0, CONTROL]], { pre: "jina-v2-de" }));
    const ids = jina.encode(" a \t<mask> b", { parseSpecial: true });
    expect(ids).toEqual([32, 97, 256, 32, 98]);
  });

  it.each([
    ["<mask>", { "general.architecture": "nomic-bert-moe" }, true],
    ["<mask>", { "general.architecture": "jina-bert-v3" }, true],
    ["[MASK]", { "general.name": "Modern-BERT base" }, true],
    ["[MASK]", { "general.architecture": "bert" }, false],
    ["<mask>", { "general.architecture": "bert" }, false],
  ])("%s of %j takes the white space before it along: %s", (mask, more, takes) => {
    const { encode } = createTokenizer(bpeMetadata([], [[mask, 0, CONTROL]], more));
    const ids = encode(`a ${mask} b`, { parseSpecial: true });
    expect(ids).toEqual(takes ? [97, 256, 32, 98] : [97, 32, 256, 32, 98]);
  });
});

describe("BOS and EOS", () => {
  const encode = (more: Record<string, boolean | number>, options = {}) =>
    createTokenizer(bpeMetadata([], [], { bos_token_id: 1, eos_token_id: 2, ...more })).encode(
      "a",
      options,
    );

  it("are added as the file says", () => {
    expect(encode({})).toEqual([97]);
    expect(encode({ add_bos_token: true })).toEqual([1, 97]);
    expect(encode({ add_eos_token: true })).toEqual([97, 2]);
    expect(encode({ add_bos_token: true, add_eos_token: true })).toEqual([1, 97, 2]);
  });

  it("stay away when they are not wanted", () => {
    const both = { add_bos_token: true, add_eos_token: true };
    expect(encode(both, { addSpecial: false })).toEqual([97]);
  });
});

describe("streaming", () => {
  const tokenizer = createTokenizer(bpeMetadata([]));

  it("holds a character back until it is whole", () => {
    const decoder = tokenizer.decoder();
    expect([0xf0, 0x9f, 0x98, 0x81, 0x21].map((byte) => decoder.push(byte))).toEqual([
      ...["", "", "", "😁", "!"],
    ]);
    expect(decoder.flush()).toBe("");
  });

  it("shows U+FFFD for what never became one, and can begin again", () => {
    const decoder = tokenizer.decoder();
    expect(decoder.push(0xf0) + decoder.push(0x9f)).toBe("");
    expect(decoder.flush()).toBe("\ufffd");
    expect(decoder.push(0x41)).toBe("A");
    expect(decoder.push(0xc3)).toBe("");
    expect(decoder.push(0x41)).toBe("\ufffdA");
  });

  it("keeps a byte order mark, which is a character like any other", () => {
    expect(tokenizer.decode([0xef, 0xbb, 0xbf, 0x41])).toBe("\ufeffA");
  });
});
