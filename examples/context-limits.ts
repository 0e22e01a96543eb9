// What happens at the end of a context, and four ways to live with it.     npx tsx examples/context-limits.ts
import { ContextOverflowError, Engine, type EngineOptions, SHIPPED_MODEL } from "dawnstream";

const prompt = "Once upon a time there was a little girl named Lily. She had a red ball.";
const options = { maxTokens: 100, temperature: 0, ignoreEos: true };

const ways: [string, EngineOptions][] = [
  ["refuse what could not end within it", { whenFull: "error" }],
  ["stop when it is full", { whenFull: "stop" }],
  ["keep 4 tokens and slide", { whenFull: { keep: 4 } }],
  ["sinks: forget from the start", { attention: { kind: "sinks", sinks: 4, window: 28 } }],
  ["a larger context", { context: 128 }],
];

for (const [name, way] of ways) {
  const engine = await Engine.load(SHIPPED_MODEL, { context: 64, ...way });
  try {
    console.log(`\n${name}`);
    try {
      const { text, usage, finishReason } = await engine.complete(prompt, {
        ...options,
        fillLevel: 0.75,
        onFill: ({ freeTokens }) =>
          console.log(`  three quarters full: ${freeTokens} tokens are left`),
      });
      const { promptTokens, generatedTokens, freeTokens } = usage;
      console.log(
        `  ${promptTokens} + ${generatedTokens} tokens, ${freeTokens} free, ended by ${finishReason}`,
      );
      console.log(`  …${text.slice(-60)}`);
    } catch (error) {
      if (!(error instanceof ContextOverflowError)) throw error;
      console.log(`  ${error.message}`);
    }
  } finally {
    await engine.close();
  }
}
