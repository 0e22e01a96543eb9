// Guesses at the tokens that follow a text, which a step of the model verifies together.
// In this room: where drafts come from, how long they are, and how the tokens of a text are chosen with
// them. Not in it: how rows are computed (run/), and what becomes of the tokens (generation/).

/** The tokens that are likely to follow a text. */
export interface Drafter {
  /** At most `most` tokens that may follow; none if there is no good guess. */
  propose(text: readonly number[], most: number): Promise<readonly number[]>;
  /** Gives back what it holds. */
  release(): void;
}
