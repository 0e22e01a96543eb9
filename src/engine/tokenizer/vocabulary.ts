/**
 * The vocabulary of a GGUF file: its tokens and the rules beside them, checked, so that all later
 * code can rely on lengths and ids.
 */
import { UserError } from "../../errors.ts";
import { textOfBytes } from "../gguf/byte-text.ts";
import type { MetadataValue } from "../gguf/gguf.ts";
import { Metadata } from "../gguf/metadata.ts";
import { quote } from "../gguf/reader.ts";
import { BYTE_CHARACTERS } from "./algorithms/byte-alphabet.ts";
import { Charsmap } from "./algorithms/charsmap.ts";
import { findPreTokenizer, type PreTokenizer } from "./algorithms/pre-tokenizer.ts";
import type { WordNormalizer } from "./algorithms/words.ts";
import { isEndSpelling } from "./end-of-generation.ts";
import {
  readSpecialIds,
  type SpecialDefaults,
  type SpecialIds,
  WORDPIECE_DEFAULTS,
} from "./special-ids.ts";

/** SentencePiece writes a space as "▁" (U+2581, lower one eighth block). */
export const SPACE_MARK = "\u2581";

/**
 * The kinds of vocabularies, as `tokenizer.ggml.model` names them: SentencePiece's pairs, byte-level
 * pairs, WordPiece, SentencePiece's unigram model. Each has its algorithm in algorithms/.
 */
const TOKENIZER_MODELS = ["llama", "gpt2", "bert", "t5"] as const;

export type TokenizerModel = (typeof TOKENIZER_MODELS)[number];

const OTHER_MODELS: ReadonlyMap<string, string> = new Map([["rwkv", "RWKV"]]);

/**
 * In the order of the numbers in `tokenizer.ggml.token_type`, where 0 is a token of no given type.
 */
const TOKEN_TYPES = [
  "normal",
  "normal",
  "unknown",
  "control",
  "user-defined",
  "unused",
  "byte",
] as const;

export type TokenType = (typeof TOKEN_TYPES)[number];

export interface UnigramRules {
  readonly charsmap: Charsmap | undefined;
  /** Runs of spaces are one space, and there is none at the end. */
  readonly mergesSpaces: boolean;
}

export interface Vocabulary extends SpecialIds {
  readonly model: TokenizerModel;
  /** The number of tokens, V. */
  readonly size: number;
  /**
   * The token as the file spells it, "▁the" or "Ġthe"; `Tokenizer.decode` gives its text. A byte b
   * that is not UTF-8 is U+DC00 + b (gguf/byte-text.ts), so that no two tokens have one text.
   */
  text(id: number): string;
  type(id: number): TokenType;
  /** Whether it gives no text unless asked: a control or unknown token that is not `shown`. */
  isHidden(id: number): boolean;
  /** The token with this spelling in the file. */
  id(text: string): number | undefined;
  /** The token `<0x00>` to `<0xFF>` of a byte, or else the token of the single byte. */
  idOfByte(byte: number): number | undefined;
  /** By token; empty if the file has none: all are equal then. */
  readonly scores: ArrayLike<number>;
  /** "left right", the most urgent first. */
  readonly merges: readonly string[];
  /** For "gpt2" only. */
  readonly preTokenizer: PreTokenizer | undefined;
  /** For "bert" only. */
  readonly normalizer: WordNormalizer | undefined;
  /** For "t5" only. */
  readonly unigram: UnigramRules | undefined;
  /** Text gets a space in front where it starts and after every special token. */
  readonly addSpacePrefix: boolean;
  /** Special tokens that take the white space on that side of them along. */
  readonly stripsBefore: ReadonlySet<number>;
  readonly stripsAfter: ReadonlySet<number>;
  /**
   * The file's own chat templates, in Jinja, by name; "default" is what transformers take unless
   * told otherwise.
   */
  readonly chatTemplates: ReadonlyMap<string, string>;
  /** What a user should know about this file, a sentence each. */
  readonly warnings: readonly string[];
}

export function readVocabulary(values: ReadonlyMap<string, MetadataValue>): Vocabulary {
  const metadata = new Metadata({ name: "the tokenizer", metadata: values });
  const model = readModel(metadata);
  const warnings: string[] = [];
  const texts = readTexts(metadata);
  const ids = indexTexts(texts);
  const types = readTypes(metadata, texts, model, warnings);
  const scores = readScores(metadata, texts.length);
  const merges = readMergeTexts(metadata, model);
  const preTokenizer = model === "gpt2" ? readPreTokenizer(metadata, warnings) : undefined;

  const special = readSpecialIds(
    metadata,
    texts.length,
    (text) => ids.get(text),
    specialDefaults(model, preTokenizer),
    warnings,
  );
  for (const id of special.endOfGeneration) {
    const text = texts[id]!;
    if (!isEndSpelling(text)) continue;
    if (types[id] === "normal") {
      warnings.push(
        `Token ${id}, ${quote(text)}, ends a generation but is typed as normal text; it is taken for a control token.`,
      );
    }
    types[id] = "control";
  }

  const idOfByte = (byte: number): number | undefined =>
    ids.get(byteSpelling(byte)) ?? ids.get(textOfBytes(Uint8Array.of(byte)));
  // All others have a token for unknown characters, or bytes.
  if (model === "gpt2") warnOfLostBytes((byte) => ids.has(BYTE_CHARACTERS[byte]!), warnings);
  else if (model === "llama" && special.unk === undefined) {
    warnOfLostBytes((byte) => idOfByte(byte) !== undefined, warnings);
  }

  return {
    ...special,
    ...readStripping(metadata, types, (text) => ids.get(text)),
    model,
    size: texts.length,
    text: (id) => texts[id]!,
    type: (id) => types[id]!,
    isHidden: (id) =>
      (types[id] === "control" || types[id] === "unknown") && !special.shown.has(id),
    id: (text) => ids.get(text),
    idOfByte,
    scores,
    merges,
    preTokenizer,
    normalizer: model === "bert" ? readNormalizer(metadata) : undefined,
    unigram: model === "t5" ? readUnigramRules(metadata) : undefined,
    addSpacePrefix: readSpacePrefix(metadata, model, warnings),
    chatTemplates: readChatTemplates(metadata, values.keys()),
    warnings,
  };
}

/** The byte that `<0xXX>` stands for; undefined for any other text. */
export function byteOfToken(text: string): number | undefined {
  const digits = /^<0x([0-9A-Fa-f]{2})>$/.exec(text)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}

function byteSpelling(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

function readModel(metadata: Metadata): TokenizerModel {
  const name = metadata.string("tokenizer.ggml.model");
  const model = TOKENIZER_MODELS.find((known) => known === name);
  if (model !== undefined) return model;
  const kind = OTHER_MODELS.get(name);
  throw new UserError(
    `tokenizer.ggml.model is ${quote(name)}${kind ? ` (${kind})` : ""}; dawnstream supports ${TOKENIZER_MODELS.join(", ")}. Take a model with one of these.`,
  );
}

/** What holds if the file is silent, as in llama.cpp. */
function specialDefaults(model: TokenizerModel, preTokenizer?: PreTokenizer): SpecialDefaults {
  if (preTokenizer !== undefined) return { addBos: preTokenizer.addBos, addEos: false };
  if (model === "bert") return WORDPIECE_DEFAULTS;
  if (model === "t5") return { addBos: false, addEos: true, eos: 1, unk: 2, pad: 0 };
  return { addBos: true, addEos: false, bos: 1, eos: 2, unk: 0 };
}

function readNormalizer(metadata: Metadata): WordNormalizer {
  const lowercase = metadata.boolean("tokenizer.ggml.normalizer.lowercase", true);
  const stripAccents = metadata.boolean("tokenizer.ggml.normalizer.strip_accents", lowercase);
  return { lowercase, stripAccents };
}

function readTexts(metadata: Metadata): readonly string[] {
  const texts = metadata.strings("tokenizer.ggml.tokens");
  if (texts.length === 0) throw damaged("tokenizer.ggml.tokens", "at least one token", "none");
  return texts.map((text, id) => (text === "" ? `[EMPTY_${id}]` : text));
}

function indexTexts(texts: readonly string[]): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  for (const [id, text] of texts.entries()) {
    const other = ids.get(text);
    if (other !== undefined) {
      const found = `${quote(text)} as ${other} and ${id}`;
      throw damaged("tokenizer.ggml.tokens", "every token once", found);
    }
    ids.set(text, id);
  }
  return ids;
}

/**
 * Without types every token is normal, but for SentencePiece's bytes, which show by their spelling.
 * A token of an unknown type is normal too, and so is a byte token that does not spell a byte:
 * neither is a reason to refuse a model.
 */
function readTypes(
  metadata: Metadata,
  texts: readonly string[],
  model: string,
  warnings: string[],
): TokenType[] {
  const key = "tokenizer.ggml.token_type";
  const numbers = metadata.numbers(key, null);
  if (numbers === null) {
    const isByte = (text: string) => model === "llama" && byteOfToken(text) !== undefined;
    return texts.map((text) => (isByte(text) ? "byte" : "normal"));
  }
  checkLength(key, numbers, texts.length);
  const strange: number[] = [];
  const types = texts.map((text, id): TokenType => {
    const type = TOKEN_TYPES[numbers[id]!];
    if (type !== undefined && (type !== "byte" || byteOfToken(text) !== undefined)) return type;
    strange.push(id);
    return "normal";
  });
  const first = strange[0];
  if (first !== undefined) {
    const type = `${quote(texts[first]!)} of type ${numbers[first]}`;
    warnings.push(
      `${key}: ${strange.length} tokens (the first is ${first}, ${type}) are of no type from 0 to 6, or bytes that are not spelled <0x00> to <0xFF>; they are taken for normal text.`,
    );
  }
  return types;
}

/**
 * SentencePiece merges by score; elsewhere scores are of no use, but must fit if they are there.
 */
function readScores(metadata: Metadata, size: number): ArrayLike<number> {
  const key = "tokenizer.ggml.scores";
  const scores = metadata.numbers(key, []);
  if (scores.length > 0) checkLength(key, scores, size);
  for (let id = 0; id < scores.length; id++) {
    if (Number.isNaN(scores[id])) throw damaged(key, "numbers", `NaN for token ${id}`);
  }
  return scores;
}

function readMergeTexts(metadata: Metadata, model: string): readonly string[] {
  return model === "gpt2" ? metadata.strings("tokenizer.ggml.merges") : [];
}

function readPreTokenizer(metadata: Metadata, warnings: string[]): PreTokenizer {
  const name = metadata.string("tokenizer.ggml.pre", null);
  if (name !== null) return findPreTokenizer(name);
  warnings.push(
    "tokenizer.ggml.pre is missing, so text is cut by the default rules, which may not be those of the model: convert the model again with a newer converter.",
  );
  return findPreTokenizer("default");
}

function readUnigramRules(metadata: Metadata): UnigramRules {
  const bytes = metadata.numbers("tokenizer.ggml.precompiled_charsmap", []);
  return {
    charsmap: bytes.length === 0 ? undefined : new Charsmap(Uint8Array.from(bytes)),
    mergesSpaces: metadata.boolean("tokenizer.ggml.remove_extra_whitespaces", false),
  };
}

function readSpacePrefix(metadata: Metadata, model: string, warnings: string[]): boolean {
  if (model === "bert") return true; // A word has a space in front of it, the first one too.
  const added = metadata.boolean("tokenizer.ggml.add_space_prefix", model !== "gpt2");
  if (!added || model !== "gpt2") return added;
  warnings.push(
    "tokenizer.ggml.add_space_prefix is true, which has no effect on a byte-level vocabulary, as in llama.cpp.",
  );
  return false;
}

/** `tokenizer.chat_template`, and if a file has several, `tokenizer.chat_template.NAME`. */
function readChatTemplates(metadata: Metadata, keys: Iterable<string>): Map<string, string> {
  const key = "tokenizer.chat_template";
  const templates = new Map<string, string>();
  for (const other of keys) {
    if (other.startsWith(`${key}.`)) {
      templates.set(other.slice(key.length + 1), metadata.string(other));
    }
  }
  const main = metadata.string(key, null);
  if (main !== null) templates.set("default", main);
  return templates;
}

/** Architectures with a vocabulary of XLM-RoBERTa. */
const MASKING = ["nomic-bert-moe", "jina-bert-v3"];

/**
 * How special tokens treat white space beside them is not in the file: it is known by the model's
 * name, as in llama.cpp.
 */
function readStripping(
  metadata: Metadata,
  types: readonly TokenType[],
  idOf: (text: string) => number | undefined,
): Pick<Vocabulary, "stripsBefore" | "stripsAfter"> {
  const stripsBefore = new Set<number>();
  const stripsAfter = new Set<number>();
  const name = metadata.string("general.name", "");
  const isJina = metadata.string("tokenizer.ggml.pre", "").startsWith("jina-v2-");
  const isOfRoberta = MASKING.includes(metadata.string("general.architecture", ""));
  const mask = idOf(isJina || isOfRoberta ? "<mask>" : "[MASK]");
  const takesSpace = isJina || isOfRoberta || /modern-bert/i.test(name);
  if (takesSpace && mask !== undefined) stripsBefore.add(mask);
  if (/phi-?3/i.test(name)) {
    const exempt = ["<unk>", "<s>", "<|endoftext|>"].map(idOf);
    for (const [id, type] of types.entries()) {
      if (isSpecial(type) && !exempt.includes(id)) stripsAfter.add(id);
    }
  }
  return { stripsBefore, stripsAfter };
}

/** Whether text is cut at tokens of this type before anything else is done with it. */
export function isSpecial(type: TokenType): boolean {
  return type === "control" || type === "user-defined" || type === "unknown";
}

/**
 * UTF-8 has no use for C0, C1 and F5 to FF; text with any other byte without a token is damaged.
 */
function warnOfLostBytes(isToken: (byte: number) => boolean, warnings: string[]): void {
  const lost = BYTE_CHARACTERS.filter((_, byte) => {
    const occurs = byte !== 0xc0 && byte !== 0xc1 && byte < 0xf5;
    return occurs && !isToken(byte);
  });
  if (lost.length === 0) return;
  warnings.push(
    `${lost.length} of the 256 bytes are no tokens (the first is ${quote(lost[0]!)}): text that needs them cannot be tokenized without loss.`,
  );
}

function checkLength(key: string, array: ArrayLike<number>, size: number): void {
  if (array.length >= size) return;
  throw damaged(key, `one number for each of the ${size} tokens`, `${array.length}`);
}

function damaged(key: string, expected: string, found: string): UserError {
  return new UserError(
    `${key}: expected ${expected}, found ${found}. The file is damaged or was converted wrongly: take another copy.`,
  );
}
