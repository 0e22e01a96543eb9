/**
 * Which tokens begin and end a text, and whether they are added to one: read from the file if it
 * says so, else by the same rules as llama.cpp.
 */

import type { Metadata } from "../gguf/metadata.ts";
import { type EndOfGeneration, findEnds } from "./end-of-generation.ts";

export interface SpecialIds extends EndOfGeneration {
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly unk: number | undefined;
  readonly pad: number | undefined;
  /** Whether encoding puts BOS first and EOS last. */
  readonly addBos: boolean;
  readonly addEos: boolean;
}

/** Which keys of a file are asked, the first that is there, and what holds if it is silent. */
export interface SpecialDefaults {
  /** Default: `bos_token_id` and `eos_token_id`. */
  readonly bosKeys?: readonly string[];
  readonly eosKeys?: readonly string[];
  /** Default: `add_eos_token`. EOS is added if one of those that are there says so. */
  readonly addEosKeys?: readonly string[];
  readonly bos?: number;
  readonly eos?: number;
  readonly unk?: number;
  readonly pad?: number;
  readonly addBos: boolean;
  readonly addEos: boolean;
}

/** BERT reads [CLS] text [SEP]; the key is spelled so. */
export const WORDPIECE_DEFAULTS: SpecialDefaults = {
  bosKeys: ["cls_token_id", "bos_token_id"],
  eosKeys: ["seperator_token_id", "eos_token_id"],
  addEosKeys: ["add_eos_token", "add_sep_token"],
  ...{ bos: 101, eos: 102, unk: 100, pad: 0, addBos: true, addEos: true },
};

export function readSpecialIds(
  metadata: Metadata,
  size: number,
  idOf: (text: string) => number | undefined,
  defaults: SpecialDefaults,
  warnings: string[],
): SpecialIds {
  const inRange = (id: number | undefined) => (id !== undefined && id < size ? id : undefined);
  const read = (key: string, fallback?: number): number | undefined => {
    const given = metadata.integer(`tokenizer.ggml.${key}`, null);
    const otherwise = inRange(fallback);
    if (given === null) return otherwise;
    if (given >= 0 && given < size) return given;
    warnings.push(
      `tokenizer.ggml.${key} is ${given}, outside the vocabulary of ${size} tokens; ${otherwise === undefined ? "it is ignored" : `${otherwise} is used instead`}.`,
    );
    return otherwise;
  };
  const readFirst = (keys: readonly string[], fallback?: number): number | undefined =>
    keys.reduceRight((otherwise, key) => read(key, otherwise), fallback);
  const { bosKeys = ["bos_token_id"], eosKeys = ["eos_token_id"] } = defaults;
  const bos = readFirst(bosKeys, defaults.bos);
  const eos = readFirst(eosKeys, defaults.eos);
  const { addEosKeys = ["add_eos_token"] } = defaults;
  const flag = (keys: readonly string[], absent: boolean): boolean => {
    const given = keys.map((key) => metadata.boolean(`tokenizer.ggml.${key}`, null));
    return given.every((value) => value === null) ? absent : given.includes(true);
  };
  return {
    ...findEnds(read, idOf, eos),
    bos,
    eos,
    unk: read("unknown_token_id", defaults.unk),
    pad: read("padding_token_id", defaults.pad),
    addBos: isAdded(flag(["add_bos_token"], defaults.addBos), "bos", bos, warnings),
    addEos: isAdded(flag(addEosKeys, defaults.addEos), "eos", eos, warnings),
  };
}

/** A token that should be added but does not exist is left out, as in Hugging Face's tokenizers. */
function isAdded(
  added: boolean,
  name: string,
  id: number | undefined,
  warnings: string[],
): boolean {
  if (added && id === undefined) {
    warnings.push(
      `The vocabulary asks for ${name.toUpperCase()} to be added to every text, but tokenizer.ggml.${name}_token_id names no token of it: none is added.`,
    );
  }
  return added && id !== undefined;
}
