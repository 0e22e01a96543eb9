// A text that is too long for its budget, cut in three ways, and how well the model does with what is left of it: the
// likelihood of the sentence that follows.                                       npx tsx examples/truncate.ts
import { Engine, SHIPPED_MODEL, truncate } from "dawnstream";

const story =
  "Once upon a time there was a little girl named Lily. She had a red ball that she loved very much. " +
  "One day it rained, and she could not go outside. She looked at her books, and she drew a big sun. " +
  "Then the rain stopped. Her mother opened the door and smiled. Lily took the thing that she loved.";
const next = " It was her red ball.";

const engine = await Engine.load(SHIPPED_MODEL);
try {
  const { tokenizer } = engine;
  const answer = tokenizer.encode(next, { addSpecial: false });

  for (const strategy of ["head", "tail", "middle"] as const) {
    const options = { budget: 48, reserve: answer.length, strategy };
    const { text, tokens, originalTokens } = truncate(story, tokenizer, options);
    const ids = engine.tokenize(text + next);
    const { nll } = await engine.score(ids);
    const surprise = nll.slice(-answer.length).reduce((a, b) => a + b, 0);
    console.log(
      `${strategy}: ${tokens} of ${originalTokens} tokens, next sentence ${surprise.toFixed(1)} nats`,
    );
    console.log(`  ${text}`);
  }
} finally {
  await engine.close();
}
