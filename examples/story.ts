// A story, streamed; Ctrl-C ends it cleanly.            npx tsx examples/story.ts "The little dragon"
import { Engine, SHIPPED_MODEL } from "dawnstream";

const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

const engine = await Engine.load(SHIPPED_MODEL);
try {
  const prompt = process.argv[2] ?? "Once upon a time";
  process.stdout.write(prompt);
  const options = { maxTokens: 150, temperature: 0.7, seed: 7, signal: stop.signal };
  for await (const { text } of engine.generate(prompt, options)) process.stdout.write(text);
  console.log();
} finally {
  await engine.close();
}
