/** What differs between the kinds of tokenizer; special tokens and streaming are common to all. */
export interface TokenizerAlgorithm {
  /** Cuts a text into pieces that are tokenized one by one; joined, they are the text as the vocabulary reads it. */
  split(text: string): Iterable<string>;
  /**
   * Whether a text may be cut between two characters that follow each other, whatever lies before and behind them: both
   * sides by themselves then give the pieces of the whole.
   */
  isBorder(left: string, right: string): boolean;
  /** The tokens of one piece. */
  tokenize(piece: string): number[];
  /** What a token stands for. A character may be spread over several tokens. */
  bytes(id: number): Uint8Array;
}
