// Three texts that are asked for at the same time share the steps of one engine.     npx tsx examples/together.ts
import { Engine, SHIPPED_MODEL, type StepReport } from "dawnstream";

const steps: StepReport[] = [];
const engine = await Engine.load(SHIPPED_MODEL, { onStep: (step) => steps.push(step) });
try {
  const options = { maxTokens: 6, temperature: 0, ignoreEos: true };
  const long = "Once upon a time there was a little girl named Lily who had a red ball. ".repeat(6);
  const prompts = ["Tom and Lily", "The dog", long];
  const texts = await Promise.all(prompts.map((prompt) => engine.complete(prompt, options)));

  console.log("step  rows  of (position +tokens of each text)");
  for (const [i, { pieces }] of steps.entries()) {
    const rows = pieces.reduce((sum, { tokens }) => sum + tokens, 0);
    const parts = pieces.map(({ position, tokens }) => `${position} +${tokens}`);
    console.log(`${String(i + 1).padStart(4)}  ${String(rows).padStart(4)}  ${parts.join(", ")}`);
  }
  for (const [i, prompt] of prompts.entries()) {
    const alone = await engine.complete(prompt, options);
    console.log(texts[i]!.text === alone.text ? "The same text alone." : "Another text alone!");
  }
} finally {
  await engine.close();
}
