// Why windows overlap: a model predicts the first tokens of a window badly, since it has seen nothing of what comes before
// them. Perplexity of a text, or of a file of any size, by windows that meet and by windows that overlap; each token counts
// in the first window that has it.                                 npx tsx examples/windows.ts [FILE] [tokens at most]
import { Engine, SHIPPED_MODEL, streamText, windows } from "dawnstream";

const [file = "test/fixtures/text/stories.txt", most = "3072"] = process.argv.slice(2);
const size = 128;

const engine = await Engine.load(SHIPPED_MODEL, { context: size + 1 });
try {
  const { tokenizer } = engine;
  const { bos } = tokenizer.vocabulary;

  for (const overlap of [0, 32, 64, 96]) {
    const nll: number[] = [];
    for await (const { ids, start } of windows(streamText(file), tokenizer, { size, overlap })) {
      const score = await engine.score([bos!, ...ids]);
      nll.push(...score.nll.slice(nll.length - start));
      if (nll.length >= Number(most)) break; // and no more of the file is read
    }
    const counted = nll.slice(0, Number(most));
    const mean = counted.reduce((sum, value) => sum + value, 0) / counted.length;
    console.log(
      `windows of ${size}, overlap ${overlap}: perplexity ${Math.exp(mean).toFixed(3)} over ${counted.length} tokens`,
    );
  }
} finally {
  await engine.close();
}
