// How fast does dawnstream decode, compared with llama.cpp?

import { versus } from "./versus.ts";

export function main(args: string[]): Promise<void> {
  const question = {
    name: "decode",
    title: (prompt: number) => `Decoding after ${prompt} tokens`,
    prompt: 4,
    // A short prompt, too, goes token by token: llama.cpp's Vulkan kernels for several would take llvmpipe minutes to
    // compile.
    batch: (prompt: number) => (prompt <= 8 ? 1 : Math.min(prompt, 256)),
    effort: (slow: boolean) => ({ tokens: slow ? 9 : 33, repeats: 1 }),
    checked: 6,
    times: ({ tokenMs }: { tokenMs: readonly number[] }) => tokenMs,
    tokensPerTime: () => 1,
  };
  return versus(question, args);
}
