// The same text with the cache and without: the same tokens, and what each of them took.     npx tsx examples/cache.ts
import { Engine, SHIPPED_MODEL } from "dawnstream";

const engine = await Engine.load(SHIPPED_MODEL);
try {
  const prompt = "Once upon a time there was a little girl";
  const options = { maxTokens: 150, temperature: 0, ignoreEos: true };

  const texts: string[] = [];
  for (const cache of [true, false]) {
    const times: number[] = [];
    let text = "";
    let last = performance.now();
    for await (const piece of engine.generate(prompt, { ...options, cache })) {
      times.push(performance.now() - last);
      last = performance.now();
      text += piece.text;
    }
    texts.push(text);
    const median = (part: number[]) => part.sort((a, b) => a - b)[part.length >> 1]!.toFixed(1);
    console.log(
      `cache ${cache}: tokens 1 to 20 take ${median(times.slice(0, 20))} ms each, ` +
        `130 to 150 take ${median(times.slice(-20))} ms`,
    );
  }
  console.log(texts[0] === texts[1] ? "Both wrote the same." : "They wrote different texts!");
} finally {
  await engine.close();
}
