// What llama.cpp (v0.4.0, `llama_vocab_is_eog`) says of vocabularies that have these tokens.
import { describe, expect, it } from "vitest";
import { createTokenizer } from "../../../src/engine/tokenizer/tokenizer.ts";
import { readVocabulary } from "../../../src/engine/tokenizer/vocabulary.ts";
import { bpeMetadata, CONTROL, NORMAL, USER_DEFINED } from "./vocabularies.ts";

const metadata = (texts: readonly string[], type = CONTROL, more = {}) =>
  bpeMetadata(
    [],
    texts.map((text) => [text, 0, type] as const),
    more,
  );

function endsOf(texts: readonly string[], more = {}): string[] {
  const { endOfGeneration, text } = readVocabulary(metadata(texts, CONTROL, more));
  return Array.from(endOfGeneration, text).sort();
}

describe("end of generation", () => {
  it.each([
    ...["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<turn|>"],
    ...["<|end_of_text|>", "<EOT>", "_<EOT>", "[EOT]", "<｜end▁of▁sentence｜>", "[e~[", "[EOS]"],
    ...["<end_of_utterance>", "<|eom_id|>", "</s>", "<eos>", "<|return|>", "<|call|>", "<|calls|>"],
    ...["<|flush|>", "<|tool_response>", "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
    ...["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>"],
  ])("is %s", (text) => {
    expect(endsOf([text])).toEqual([text]);
  });

  it.each([
    ...["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>", "<|im_start|>", "<|turn>"],
    ...["<|tool_call>", "<s>", "<bos>", "<|user|>", "<|fim_prefix|>", "<fim-suffix>", "<pad>"],
    ...["<|fim_middle|>", "<|pad|>", "[SEP]", "<|eot|>", "<|end_of_turn|>", "<|header_end|>"],
  ])("is not %s", (text) => {
    expect(endsOf([text])).toEqual([]);
  });

  it.each([
    [["<|end|>", "<|return|>", "<|call|>"], "<|call|> <|return|>"],
    [["<|end|>", "<|return|>", "<|calls|>"], "<|calls|> <|return|>"],
    [["<|end|>", "<|flush|>", "<|calls|>"], "<|calls|> <|flush|>"],
    [["<|end|>", "<|flush|>", "<|call|>"], "<|call|> <|flush|>"],
    [["<|end|>", "<|return|>"], "<|end|> <|return|>"],
    [["<|end|>", "<|call|>"], "<|call|> <|end|>"],
    [["<|end|>", "<|flush|>"], "<|end|> <|flush|>"],
    [["<|end|>", "<|calls|>"], "<|calls|> <|end|>"],
    [["<|end|>", "<|return|>", "<|flush|>"], "<|end|> <|flush|> <|return|>"],
    [["</s>", "<|tool_response>"], "<|tool_response>"],
    [["</s>", "<turn|>"], "</s> <turn|>"],
    [["<fim_pad>", "<PAD>"], "<fim_pad>"], // one of a kind
  ])("of %j is as in llama.cpp", (texts, ends) => {
    expect(endsOf(texts).join(" ")).toBe(ends);
    expect(endsOf([...texts].reverse()).join(" ")).toBe(ends);
  });

  it("is what the file's keys say before any spelling of that kind", () => {
    const named = {
      ...{ fim_pad_token_id: 257, fim_rep_token_id: 257, fim_sep_token_id: 257 },
      eos_token_id: 97,
    };
    expect(endsOf(["[PAD]", "xx", "<reponame>", "<|file_sep|>"], named)).toEqual(["a", "xx"]);
    expect(endsOf(["</s>", "<|tool_response>"], { eos_token_id: 256 })).toEqual([
      "<|tool_response>",
    ]);
  });

  it("leaves a token that a spelling no longer means as the file has it", () => {
    const { type, warnings } = readVocabulary(metadata(["</s>", "<|tool_response>"], NORMAL));
    expect([type(256), type(257)]).toEqual(["normal", "control"]);
    expect(warnings).toEqual([expect.stringContaining('Token 257, "<|tool_response>"')]);
    expect(readVocabulary(metadata(["<turn|>"], USER_DEFINED)).type(256)).toBe("control");
  });
});

describe("the parts of an answer in the harmony format", () => {
  const parts = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>", "<|end|>"];
  const texts = [...parts, "<|return|>", "<|call|>", "<|im_start|>"];
  const tokenizer = createTokenizer(metadata(texts));
  const ids = texts.map((text) => tokenizer.vocabulary.id(text)!);

  it("are shown, though they are control tokens", () => {
    expect(tokenizer.decode(ids)).toBe(parts.join(""));
    expect(tokenizer.decode(ids, { special: true })).toBe(texts.join(""));
    // Typed, they are text all the same.
    expect(tokenizer.encode("<|end|>", { addSpecial: false })).toHaveLength(7);
  });

  it("do not show <|end|> in other formats", () => {
    const phi = createTokenizer(metadata(["<|end|>", "<|user|>"]));
    expect(phi.decode([256, 97, 257])).toBe("a");
  });
});
