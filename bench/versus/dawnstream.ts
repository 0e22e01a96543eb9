// dawnstream's side of the benches against other engines, through the public interface that a user has.

import { Engine } from "../../src/index.ts";
import { answer } from "../process.ts";
import { checkedText, type Request, timeTokens } from "./protocol.ts";

await answer(async (request: Request) => {
  const { model, prompt, tokens, batch, wanted } = request;
  await using engine = await Engine.load(model, { context: 512, chunk: batch });
  async function* generate(): AsyncGenerator<number, void, void> {
    const options = { temperature: 0, maxTokens: tokens, ignoreEos: true };
    for await (const { id } of engine.generate(prompt, options)) yield id;
  }
  const times = await timeTokens(request, async () => generate());

  const logits: Float32Array[] = [];
  if (wanted > 0) {
    const text = checkedText(request, times.ids);
    await engine.score(text, (position, row) => {
      if (position >= text.length - wanted) logits.push(row.slice());
    });
  }
  return { device: engine.loaded.adapter, logits, ...times };
});
