// How surprised the model is by each word of a text, in bits.    npx tsx examples/surprise.ts "The cat sat on the moon."
import { Engine, SHIPPED_MODEL } from "dawnstream";

const engine = await Engine.load(SHIPPED_MODEL);
try {
  const ids = engine.tokenize(
    process.argv[2] ?? "Tom had a red ball. He liked to play with his spoon.",
  );
  const { nll, perplexity } = await engine.score(ids);
  for (const [i, id] of ids.slice(1).entries()) {
    const bits = nll[i]! / Math.LN2;
    const bar = "#".repeat(Math.round(bits * 2));
    console.log(
      `${JSON.stringify(engine.detokenize([id], { continuation: true })).padEnd(12)} ${bits.toFixed(1).padStart(5)} ${bar}`,
    );
  }
  console.log(`perplexity ${perplexity.toFixed(2)}`);
} finally {
  await engine.close();
}
