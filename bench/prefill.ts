// How fast does dawnstream compute a prompt of 128 tokens, compared with llama.cpp?

import { versus } from "./versus.ts";

const TOKENS = 128;

export function main(args: string[]): Promise<void> {
  const question = {
    name: "prefill",
    title: `A prompt of ${TOKENS} tokens`,
    request: {
      prompt: Array.from({ length: TOKENS }, (_, i) => (i === 0 ? 1 : 300 + ((i * 7919) % 30000))),
      batch: TOKENS,
    },
    // The first time compiles: on llvmpipe, llama.cpp's Vulkan kernels take two minutes once, and are kept on disk.
    effort: (slow: boolean) => ({ tokens: 1, repeats: slow ? 4 : 8 }),
    checked: 1,
    times: ({ prefillMs }: { prefillMs: readonly number[] }) => prefillMs,
    tokensPerTime: TOKENS,
  };
  return versus(question, args);
}
