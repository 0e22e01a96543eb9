import type { TextTokenizer } from "./text-tokenizer.ts";
import type { StreamTokenizer } from "./windows.ts";

/**
 * How the hidden states of a text's tokens become one vector. "mean": of all except special tokens
 * such as BOS, which say nothing about the text. "mean-all": of all, as llama.cpp and
 * sentence-transformers take it. "cls": the first. "last": the last, which has seen all of the
 * text.
 */
export type Pooling = (typeof POOLINGS)[number];

export const POOLINGS = ["mean", "mean-all", "cls", "last"] as const;

/** The part of an engine that turns texts into vectors. */
export interface Embedder {
  /** The model's name, its layers and the width of its vectors. */
  readonly config: {
    readonly name: string;
    readonly layers: number;
    readonly width: number;
    /**
     * The file's pooling of the last layer. A model that has one other than "none" was made to
     * embed.
     */
    readonly pooling?: Pooling | "none" | undefined;
  };
  /** The most tokens of a text. */
  readonly setting: { readonly context: number };
  readonly tokenizer: TextTokenizer & StreamTokenizer;
  /** Identifies the model and its setting. */
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
