// An engine for tests of retrieval that embeds without a model: a text is the counts of its letters.

import type { Embedder } from "../../src/context/text/embedder.ts";
import type { Tokenizer } from "../../src/engine/tokenizer/tokenizer.ts";

export const WIDTH = 26;

export class LetterEmbedder implements Embedder {
  readonly config = { name: "letters", layers: 3, width: WIDTH };
  readonly setting = { context: 512 };
  readonly tokenizer: Tokenizer;
  /** Everything that was embedded, in order. */
  readonly embedded: string[] = [];

  constructor(tokenizer: Tokenizer) {
    this.tokenizer = tokenizer;
  }

  async fingerprint(): Promise<string> {
    return "letters-1";
  }

  async embed(
    text: string,
    { signal }: { signal?: AbortSignal | undefined },
  ): Promise<Float32Array> {
    signal?.throwIfAborted();
    this.embedded.push(text);
    return letters(text);
  }
}

/** How often each letter stands in a text, of length 1 in all. */
export function letters(text: string): Float32Array {
  const counts = new Float64Array(WIDTH);
  for (const letter of text.toLowerCase().match(/[a-z]/g) ?? [])
    counts[letter.charCodeAt(0) - 97]!++;
  const length = Math.hypot(...counts) || 1;
  return Float32Array.from(counts, (count) => count / length);
}
