// An index of small stories, saved and read back, and a question to it: what is found by meaning, by words and by both,
// and a story that goes on from it.                                                     npx tsx examples/retrieval.ts
import { Engine, generateWithRetrieval, SHIPPED_MODEL, TextIndex } from "dawnstream";

const stories = {
  ball: "Tom had a red ball. He played with it in the park every day. One day the ball rolled into the road.",
  cake: "Lily wanted to bake a cake. Her mom gave her eggs and milk. The cake smelled sweet, and they ate it.",
  frog: "A green frog lived in the pond. At night it sang to the moon, and all the fish came to listen.",
  bird: "A little bird fell out of its nest. Ben put it in a box with soft grass until it could fly again.",
  rain: "It rained all day. Sara looked out of the window and drew a big yellow sun to make herself happy.",
};

const engine = await Engine.load(SHIPPED_MODEL);
try {
  const index = new TextIndex(engine, { size: 64 });
  for (const [source, text] of Object.entries(stories)) await index.add(text, source);
  const again = await TextIndex.load(await index.save(), engine);

  const question = process.argv[2] ?? "Who sang a song for the moon?";
  console.log(question);
  for (const mode of ["embedding", "bm25", "hybrid"] as const) {
    const found = await again.retrieve(question, { k: 3, mode });
    const best = found.map(({ source, score }) => `${source} ${score.toFixed(2)}`);
    console.log(`${mode.padStart(9)}: ${best.join(", ")}`);
  }

  // A model of stories knows no questions: it is given what was found, and goes on.
  const generation = generateWithRetrieval(engine, again, question, {
    k: 2,
    maxTokens: 40,
    temperature: 0,
    prompt: (_, sources) => `${sources.map(({ text }) => text).join("\n")}\nThe next day,`,
  });
  for (;;) {
    const { done, value } = await generation.next();
    if (done) {
      const names = value.sources.map(({ source, tokens }) => `${source} (${tokens} tokens)`);
      console.log(`\n[${value.usage.promptTokens} tokens of prompt from ${names.join(" and ")}]`);
      break;
    }
    process.stdout.write(value.text);
  }
} finally {
  await engine.close();
}
