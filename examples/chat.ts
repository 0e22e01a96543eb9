// A conversation of three turns: each reads only what is new, and the rest lies in the cache.      npx tsx examples/chat.ts
import { conversationMemory, Engine, type Message, SHIPPED_MODEL } from "dawnstream";

const engine = await Engine.load(SHIPPED_MODEL);
try {
  const memory = conversationMemory({ kind: "buffer" });
  const conversation: Message[] = [];

  for (const content of [
    "Tom had a big red ball.",
    "He went to the park.",
    "A dog took the ball.",
  ]) {
    conversation.push({ role: "user", content });
    const answer = engine.chat(conversation, { memory, maxTokens: 40, temperature: 0.6, seed: 1 });
    console.log(`\n> ${content}`);
    for await (const { text } of answer) process.stdout.write(text);
    const { message, usage } = await answer.result;
    conversation.push(message);
    const { promptTokens, cachedTokens, freeTokens } = usage;
    console.log(
      `\n[${promptTokens} tokens read, ${cachedTokens} of them in the cache, ${freeTokens} free]`,
    );
  }
} finally {
  await engine.close();
}
