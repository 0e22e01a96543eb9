// How fast does dawnstream decode, compared with llama.cpp?

import { versus } from "./versus.ts";

export function main(args: string[]): Promise<void> {
  const question = {
    name: "decode",
    title: "Decoding",
    // The prompt, too, goes token by token: llama.cpp's kernels for several would take llvmpipe minutes to compile.
    request: { prompt: [1, 300, 4000, 777], batch: 1 },
    effort: (slow: boolean) => ({ tokens: slow ? 9 : 33, repeats: 1 }),
    checked: 6,
    times: ({ tokenMs }: { tokenMs: readonly number[] }) => tokenMs,
    tokensPerTime: 1,
  };
  return versus(question, args);
}
