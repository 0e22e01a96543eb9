// How fast does dawnstream compute a prompt, compared with llama.cpp?

import { versus } from "./versus.ts";

export function main(args: string[]): Promise<void> {
  const question = {
    name: "prefill",
    title: (prompt: number) => `A prompt of ${prompt} tokens`,
    prompt: 128,
    batch: (prompt: number) => Math.min(prompt, 256),
    // The first time compiles: on llvmpipe, llama.cpp's Vulkan kernels take two minutes once, and are kept on disk.
    effort: (slow: boolean, prompt: number) => ({
      tokens: 1,
      repeats: prompt > 2048 ? 1 : slow ? 4 : 8,
    }),
    checked: 1,
    times: ({ prefillMs }: { prefillMs: readonly number[] }) => prefillMs,
    tokensPerTime: (prompt: number) => prompt,
  };
  return versus(question, args);
}
