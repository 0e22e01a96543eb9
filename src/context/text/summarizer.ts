/** The requirements of a summary. */
export interface SummaryRequest {
  /** The most tokens of the summary: a longer one is cut by the caller. */
  readonly maxTokens: number;
  /**
   * The level of the summary: 1 for a summary of the original text, 2 for one of summaries, and so
   * on.
   */
  readonly level: number;
  readonly signal?: AbortSignal | undefined;
}

/** Makes a short text from a long one: a model, or a function of a script or test. */
export type Summarizer = (text: string, request: SummaryRequest) => Promise<string>;
