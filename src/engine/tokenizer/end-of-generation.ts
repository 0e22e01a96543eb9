/**
 * Which tokens end a generation: those that the file names, and those with a usual spelling, since
 * few files name all. The spellings and their exceptions are llama.cpp's, so that a file ends its
 * turns as it does there.
 */

export interface EndOfGeneration {
  /** End of turn, end of message. */
  readonly eot: number | undefined;
  readonly eom: number | undefined;
  /** Generation stops on any of these. */
  readonly endOfGeneration: ReadonlySet<number>;
  /** Tokens within an answer that are shown as they are spelled, though they may be control tokens. */
  readonly shown: ReadonlySet<number>;
}

const END_OF_MESSAGE = "<|eom_id|>";

/** How models spell the token after which nothing follows. */
const END_OF_TURN: readonly string[] = [
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
/** These end a generation as well: a text, or a call of a tool. */
const STOPS: readonly string[] = [
  ...[END_OF_MESSAGE, "</s>", "<eos>", "[EOS]", "<turn|>", "[e~["],
  ...["<|return|>", "<|call|>", "<|calls|>", "<|flush|>", "<|tool_response>"],
];
/** So do those of code models by which a file ends, each spelled in several ways, if no key says. */
const FILL_IN_THE_MIDDLE: Readonly<Record<string, readonly string[]>> = {
  fim_pad_token_id: ["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
  fim_rep_token_id: ["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
  fim_sep_token_id: ["<|file_sep|>"],
};
/** The parts of an answer in OpenAI's harmony format; without them they could not be told apart. */
const HARMONY_PARTS: readonly string[] = [
  ...["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"],
];

const SPELLINGS: ReadonlySet<string> = new Set([
  ...END_OF_TURN,
  ...STOPS,
  ...Object.values(FILL_IN_THE_MIDDLE).flat(),
]);

export function isEndSpelling(text: string): boolean {
  return SPELLINGS.has(text);
}

/** `read` gives the token that a key of the file names, or else its second argument. */
export function findEnds(
  read: (key: string, fallback?: number) => number | undefined,
  idOf: (text: string) => number | undefined,
  eos: number | undefined,
): EndOfGeneration {
  const spelled = (texts: readonly string[]): number[] =>
    texts.map(idOf).filter((id) => id !== undefined);
  const eot = read("eot_token_id", spelled(END_OF_TURN)[0]);
  const eom = read("eom_token_id", idOf(END_OF_MESSAGE));
  const middle = Object.entries(FILL_IN_THE_MIDDLE).map(([key, texts]) =>
    read(key, spelled(texts)[0]),
  );
  const ends = [eos, eot, eom, ...middle, ...spelled(END_OF_TURN), ...spelled(STOPS)];
  const endOfGeneration = new Set(ends.filter((id) => id !== undefined));

  const shown = new Set(spelled(HARMONY_PARTS));
  const has = (text: string) => idOf(text) !== undefined;
  // There <|end|> closes one of several messages of the same turn.
  const isHarmony = has("<|call|>") || has("<|calls|>");
  if (isHarmony && (has("<|return|>") || has("<|flush|>"))) {
    for (const id of spelled(["<|end|>"])) {
      endOfGeneration.delete(id);
      shown.add(id);
    }
  }
  // Gemma 4's </s> is the HTML tag.
  if (has("<|tool_response>")) for (const id of spelled(["</s>"])) endOfGeneration.delete(id);
  return { eot, eom, endOfGeneration, shown };
}
