// A chapter of a book in so many tokens: windows, summaries of them, summaries of these; and the tree of it all. The model
// that ships knows children's stories only, and tells one; give a model of your own for a summary.
//                                                                      npx tsx examples/summarize-chapter.ts [FILE] [MODEL]
import { Engine, SHIPPED_MODEL, type SummaryNode, streamText } from "dawnstream";

const [file = "test/fixtures/text/frankenstein-chapter-1.txt", model = SHIPPED_MODEL] =
  process.argv.slice(2);

const engine = await Engine.load(model);
try {
  const { root, levels } = await engine.summarize(streamText(file), {
    budget: 64,
    overlap: 32,
    onNode: ({ level, tokens, start, end }) => {
      if (level > 0) console.error(`level ${level}: tokens ${start} to ${end}, now ${tokens}`);
    },
  });

  function show({ level, text, start, end, children }: SummaryNode, indent = ""): void {
    if (level === 0) return; // the chapter itself
    console.log(`${indent}${start} to ${end}: ${JSON.stringify(text)}`);
    for (const child of children) show(child, `${indent}  `);
  }
  show(root);
  console.log(
    `\n${levels.map((level) => level.length).join(" > ")} texts; the last one:\n${root.text}`,
  );
} finally {
  await engine.close();
}
