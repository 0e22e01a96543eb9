// The kinds of tokenizers, a file each, and what they are made of.
// Not in this room: special tokens, which are found before, and streaming: both are common to all.

/** What differs between the kinds of tokenizer; special tokens and streaming are common to all. */
export interface TokenizerAlgorithm {
  /**
   * Cuts a text into pieces that are tokenized one by one. What no piece has in it (white space, if
   * the vocabulary reads none) gives no tokens.
   */
  split(text: string): Iterable<string>;
  /**
   * Whether a text may be cut between two characters that follow each other, in any context: both
   * sides then give the same pieces as the whole text.
   */
  isBorder(left: string, right: string): boolean;
  /** The tokens of one piece. */
  tokenize(piece: string): number[];
  /** The bytes of a token. A character may be spread over several tokens. */
  bytes(id: number): Uint8Array;
}
