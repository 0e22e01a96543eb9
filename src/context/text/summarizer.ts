/** What a summary is asked to be. */
export interface SummaryRequest {
  /** Tokens that the summary may have: whoever asks cuts what is longer. */
  readonly maxTokens: number;
  /** Of the summary: 1 for one of what people wrote, 2 for one of summaries, and so on. */
  readonly level: number;
  readonly signal?: AbortSignal | undefined;
}

/** Makes a short text of a long one. A model does it; tests and scripts may bring a function of their own. */
export type Summarizer = (text: string, request: SummaryRequest) => Promise<string>;
