// A policy of one's own: the prompt stays for ever, whatever its length, and so do the last 64 tokens; what is forgotten
// in between is told as it goes.                                                     npx tsx examples/keep-the-prompt.ts
import { type AttentionPolicy, Engine, SHIPPED_MODEL } from "dawnstream";

const engine = await Engine.load(SHIPPED_MODEL);
try {
  const prompt = engine.tokenize("Tim had a red kite. Tim and his dog Max went to the park.");
  const attention: AttentionPolicy = { name: "keep the prompt", sinks: prompt.length, window: 64 };

  const { text } = await engine.complete(prompt, {
    attention,
    maxTokens: 250,
    temperature: 0,
    onEvict: ({ tokens, positions }) => {
      const forgotten = JSON.stringify(engine.detokenize(tokens, { continuation: true }));
      console.log(`positions ${positions[0]} to ${positions.at(-1)} are forgotten: ${forgotten}`);
    },
  });
  console.log(`\n${text}`);
} finally {
  await engine.close();
}
