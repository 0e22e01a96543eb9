import type { TextTokenizer } from "./text-tokenizer.ts";
import type { StreamTokenizer } from "./windows.ts";

/** How the hidden states of a text's tokens become one vector: their mean, or that of the last, which has seen all of it. */
export type Pooling = "mean" | "last";

/** As much of an engine as turning texts into vectors takes. */
export interface Embedder {
  /** What the model is called, its layers and the width of its vectors. */
  readonly config: { readonly name: string; readonly layers: number; readonly width: number };
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
