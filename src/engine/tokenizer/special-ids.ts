/**
 * Which tokens begin, end and stop a text: read from the file if it says so, else found by their
 * usual spelling, by the same rules as llama.cpp.
 */
import type { Metadata } from "../gguf/metadata.ts";

export interface SpecialIds {
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  /** End of turn, end of message. */
  readonly eot: number | undefined;
  readonly eom: number | undefined;
  readonly unk: number | undefined;
  readonly pad: number | undefined;
  /** Whether encoding puts BOS first and EOS last. */
  readonly addBos: boolean;
  readonly addEos: boolean;
  /** Generation stops on any of these. */
  readonly endOfGeneration: ReadonlySet<number>;
}

/** What holds if the file is silent. */
interface SpecialDefaults {
  readonly bos?: number;
  readonly eos?: number;
  readonly unk?: number;
  readonly addBos: boolean;
}

const END_OF_MESSAGE = "<|eom_id|>";

/** How models spell the token after which nothing follows. */
const END_SPELLINGS: readonly string[] = [
  "<|eot_id|>",
  "<|im_end|>",
  "<|end|>",
  "<end_of_turn>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<EOT>",
  "_<EOT>",
  "[EOT]",
  "<｜end▁of▁sentence｜>",
  "<end_of_utterance>",
];
/** These end a generation as well, but not a turn. */
const STOP_SPELLINGS: readonly string[] = [
  END_OF_MESSAGE,
  "</s>",
  "<eos>",
  "[EOS]",
  "<|return|>",
  "<|call|>",
  "<|fim_pad|>",
  "<|repo_name|>",
  "<|file_sep|>",
];

export function isEndSpelling(text: string): boolean {
  return END_SPELLINGS.includes(text) || STOP_SPELLINGS.includes(text);
}

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
  const spelled = (texts: readonly string[]): number[] =>
    texts.map(idOf).filter((id) => id !== undefined);

  const bos = read("bos_token_id", defaults.bos);
  const eos = read("eos_token_id", defaults.eos);
  const eot = read("eot_token_id", spelled(END_SPELLINGS)[0]);
  const eom = read("eom_token_id", idOf(END_OF_MESSAGE));

  const fim = ["fim_pad", "fim_rep", "fim_sep"].map((name) => read(`${name}_token_id`));
  const ends = [eos, eot, eom, ...fim, ...spelled(END_SPELLINGS), ...spelled(STOP_SPELLINGS)];
  const endOfGeneration = new Set(ends.filter((id) => id !== undefined));
  // In OpenAI's harmony format <|end|> closes one of several messages of the same turn.
  const end = idOf("<|end|>");
  if (end !== undefined && idOf("<|return|>") !== undefined && idOf("<|call|>") !== undefined) {
    endOfGeneration.delete(end);
  }

  const added = (name: string, id: number | undefined, absent: boolean): boolean =>
    isAdded(metadata.boolean(`tokenizer.ggml.add_${name}_token`, absent), name, id, warnings);
  return {
    bos,
    eos,
    eot,
    eom,
    unk: read("unknown_token_id", defaults.unk),
    pad: read("padding_token_id"),
    addBos: added("bos", bos, defaults.addBos),
    addEos: added("eos", eos, false),
    endOfGeneration,
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
