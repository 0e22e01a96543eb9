import type { TextTokenizer } from "./text-tokenizer.ts";
import type { StreamTokenizer } from "./windows.ts";

/**
 * How the hidden states of a text's tokens become one vector. "mean": of all but special tokens, such as BOS, which say
 * nothing of the text. "mean-all": of all, as llama.cpp and sentence-transformers take it. "cls": the first. "last": the
 * last, which has seen all of the text.
 */
export type Pooling = (typeof POOLINGS)[number];

export const POOLINGS = ["mean", "mean-all", "cls", "last"] as const;

/** As much of an engine as turning texts into vectors takes. */
export interface Embedder {
  /** What the model is called, its layers and the width of its vectors. */
  readonly config: {
    readonly name: string;
    readonly layers: number;
    readonly width: number;
    /** How the model's file says that its last layer is to be pooled: it was made to embed, unless it says "none". */
    readonly pooling?: Pooling | "none" | undefined;
  };
  /** Texts of more tokens have no vector. */
  readonly setting: { readonly context: number };
  readonly tokenizer: TextTokenizer & StreamTokenizer;
  /** Tells the model, and the way in which it reads, from all others. */
  fingerprint(): Promise<string>;
  /** A vector [width] of length 1. */
  embed(
    text: string,
    options: {
      readonly pooling: Pooling;
      readonly layer: number;
      readonly signal?: AbortSignal | undefined;
    },
  ): Promise<Float32Array>;
}
