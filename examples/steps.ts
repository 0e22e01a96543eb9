// The engine below `generate`: a sequence, steps, logits. Greedy decoding by hand, with the pages it holds while an
// attention window with sinks forgets the middle of the text.                             npx tsx examples/steps.ts
import { Engine, SHIPPED_MODEL } from "dawnstream";

const engine = await Engine.load(SHIPPED_MODEL, {
  attention: { kind: "sinks", sinks: 4, window: 60 },
  pageSize: 16,
});
try {
  const ids = engine.tokenize("Once upon a time");
  const sequence = engine.sequence();

  let pending = ids.slice();
  for (let i = 0; i < 300; i++) {
    const wanted = { kind: "logits", rows: 1 } as const;
    const logits = await engine.run({ sequence, tokens: pending, wanted }); // [1, V]
    const next = logits.indexOf(Math.max(...logits));
    ids.push(next);
    pending = [next];
    if (i % 50 === 0) {
      const pages = sequence.entries.map(({ first }) => first).join(" ");
      console.log(`after ${sequence.length} tokens the pages at positions ${pages} are held`);
    }
  }
  sequence.clear();
  console.log(engine.detokenize(ids));
} finally {
  await engine.close();
}
