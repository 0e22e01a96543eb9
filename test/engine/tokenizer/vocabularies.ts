/** Vocabularies to test with: llama.cpp's from test/fixtures, and small ones made by hand. */
import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { type MetadataValue, openGguf } from "../../../src/engine/gguf/gguf.ts";
import { bytesSource } from "../../../src/engine/gguf/source.ts";
import { SHIPPED_MODEL } from "../../../src/platform/node.ts";

export const FIXTURES: readonly string[] = [
  "llama-spm",
  "phi-3",
  "gpt-2",
  "deepseek-llm",
  "llama-bpe",
];

const folder = new URL("../../fixtures/tokenizers/", import.meta.url);

export type Metadata = Map<string, MetadataValue>;

export async function fixtureMetadata(name: string): Promise<Metadata> {
  const bytes = gunzipSync(await readFile(new URL(`ggml-vocab-${name}.gguf.gz`, folder)));
  const file = await openGguf(name, async () => bytesSource(name, bytes));
  return new Map(file.metadata);
}

/** Of the small model that ships with the project. */
export async function shippedMetadata(): Promise<Metadata> {
  const bytes = await readFile(SHIPPED_MODEL);
  const file = await openGguf("shipped", async () => bytesSource("shipped", bytes));
  return new Map(file.metadata);
}

export interface Vector {
  readonly text: string;
  readonly ids: readonly number[];
}

export async function fixtureVectors(name: string): Promise<readonly Vector[]> {
  const read = (kind: string) =>
    readFile(new URL(`ggml-vocab-${name}.gguf.${kind}`, folder), "utf8");
  const texts = (await read("inp")).split("\n__ggml_vocab_test__\n");
  const lines = (await read("out")).split("\n");
  return texts.map((text, at) => ({ text, ids: (lines[at]!.match(/\d+/g) ?? []).map(Number) }));
}

/** As numbered in tokenizer.ggml.token_type. */
export const NORMAL = 1;
export const UNKNOWN = 2;
export const CONTROL = 3;
export const USER_DEFINED = 4;
export const UNUSED = 5;
export const BYTE = 6;

export type Token = readonly [text: string, score: number, type: number];

/** <unk> 0, <s> 1, </s> 2, the bytes 3 to 258, then `pieces` from 259 on. */
export function spmMetadata(
  pieces: readonly Token[],
  more: Record<string, MetadataValue> = {},
): Metadata {
  const bytes = Array.from({ length: 256 }, (_, byte): Token => {
    const digits = byte.toString(16).toUpperCase().padStart(2, "0");
    return [`<0x${digits}>`, 0, BYTE];
  });
  const tokens: Token[] = [
    ["<unk>", 0, UNKNOWN],
    ["<s>", 0, CONTROL],
    ["</s>", 0, CONTROL],
    ...bytes,
    ...pieces,
  ];
  return withKeys({ model: "llama", ...columns(tokens), ...more });
}

/** The bytes 0 to 255, then what `merges` make, then `specials`. */
export function bpeMetadata(
  merges: readonly string[],
  specials: readonly Token[] = [],
  more: Record<string, MetadataValue> = {},
): Metadata {
  const merged = merges.map((merge): Token => [merge.replace(" ", ""), 0, NORMAL]);
  const tokens = [
    ...byteAlphabet().map((text): Token => [text, 0, NORMAL]),
    ...merged,
    ...specials,
  ];
  return withKeys({ model: "gpt2", pre: "gpt-2", ...columns(tokens), merges, ...more });
}

/** [PAD] 0, the unused ones, [UNK] 100, [CLS] 101, [SEP] 102, [MASK] 103, then `pieces` from 104. */
export function wpmMetadata(
  pieces: readonly Token[],
  more: Record<string, MetadataValue> = {},
): Metadata {
  const unused = Array.from({ length: 99 }, (_, i): Token => [`[unused${i}]`, 0, NORMAL]);
  const special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"].map((text): Token => [text, 0, CONTROL]);
  const tokens: Token[] = [["[PAD]", 0, CONTROL], ...unused, ...special, ...pieces];
  return withKeys({ model: "bert", ...columns(tokens), ...more });
}

/** Written down once more, so that the tests do not lean on the code that they test. */
function byteAlphabet(): string[] {
  const visible = [..."!~", ..."¡¬", ..."®ÿ"].map((character) => character.charCodeAt(0));
  const isVisible = (byte: number) =>
    [0, 2, 4].some((at) => byte >= visible[at]! && byte <= visible[at + 1]!);
  const hidden = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !isVisible(byte));
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(isVisible(byte) ? byte : 0x100 + hidden.indexOf(byte)),
  );
}

function columns(tokens: readonly Token[]): Record<string, MetadataValue> {
  return {
    tokens: tokens.map(([text]) => text),
    scores: Float32Array.from(tokens, ([, score]) => score),
    token_type: Int32Array.from(tokens, ([, , type]) => type),
  };
}

function withKeys(fields: Record<string, MetadataValue>): Metadata {
  return new Map(
    Object.entries(fields).map(([name, value]) => [
      name.includes(".") ? name : `tokenizer.ggml.${name}`,
      value,
    ]),
  );
}
