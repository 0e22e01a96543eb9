/** What a summary is asked to be. */
export interface SummaryRequest {
  /** Tokens of the summary at most; whoever asks cuts what is longer. */
  readonly maxTokens: number;
  /** How often the text, or part of it, has been summarised before: 0 for what people wrote. */
  readonly level: number;
  readonly signal?: AbortSignal;
}

/** Tells a text in fewer words. A model does it; tests and scripts may bring a function of their own. */
export type Summarizer = (text: string, request: SummaryRequest) => Promise<string>;
