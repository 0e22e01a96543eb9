// A made-up SentencePiece vocabulary of any size, in a form that llama.cpp accepts, too.

import type { MetadataEntry } from "../test/support/gguf-writer.ts";

const TYPES = { normal: 1, unknown: 2, control: 3, byte: 6 } as const;

/** The tokenizer's part of a file's metadata: the three special tokens, every byte, a space, and words. */
export function randomTokenizer(vocabulary: number): MetadataEntry[] {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const tokens = ["<unk>", "<s>", "</s>", ...bytes, "\u2581"];
  const types: number[] = [
    TYPES.unknown,
    TYPES.control,
    TYPES.control,
    ...bytes.map(() => TYPES.byte),
    TYPES.normal,
  ];
  for (let i = 0; tokens.length < vocabulary; i++) {
    tokens.push(word(i));
    types.push(TYPES.normal);
  }
  // Shorter words first: merging pairs by score then finds every word through its beginnings.
  const scores = tokens.map((_, i) => (types[i] === TYPES.normal ? -i : 0));
  return [
    ["tokenizer.ggml.model", "string", "llama"],
    ["tokenizer.ggml.tokens", "string[]", tokens],
    ["tokenizer.ggml.scores", "f32[]", scores],
    ["tokenizer.ggml.token_type", "i32[]", types],
    ["tokenizer.ggml.unknown_token_id", "u32", 0],
    ["tokenizer.ggml.bos_token_id", "u32", 1],
    ["tokenizer.ggml.eos_token_id", "u32", 2],
    ["tokenizer.ggml.add_bos_token", "bool", true],
    ["tokenizer.ggml.add_eos_token", "bool", false],
  ];
}

/** a, b, ..., z, aa, ab, ...: every word once, each without its last letter a word, too. */
function word(index: number): string {
  let text = "";
  for (let rest = index + 1; rest > 0; rest = Math.floor((rest - 1) / 26)) {
    text = String.fromCharCode(97 + ((rest - 1) % 26)) + text;
  }
  return text;
}
