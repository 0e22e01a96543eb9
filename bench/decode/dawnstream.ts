// dawnstream's side of the decode bench, through the public interface that a user has.

import { Engine } from "../../src/index.ts";
import { answer } from "../process.ts";
import { checkedText, type DecodeRequest, timeTokens } from "./protocol.ts";

await answer(async (request: DecodeRequest) => {
  const { model, prompt, tokens, wanted } = request;
  await using engine = await Engine.load(model, { context: 512 });
  const ids: number[] = [];
  const generation = engine.generate(prompt, {
    temperature: 0,
    maxTokens: tokens,
    ignoreEos: true,
  });
  const times = await timeTokens(tokens, {
    async next() {
      const piece = await generation.next();
      if (!piece.done) ids.push(piece.value.id);
      return piece;
    },
  });
  await generation.return(undefined as never);

  const logits: Float32Array[] = [];
  if (wanted > 0) {
    const text = checkedText(request, ids);
    await engine.score(text, (position, row) => {
      if (position >= text.length - wanted) logits.push(row.slice());
    });
  }
  return { device: engine.adapter, loadMs: engine.loadMs, ids, logits, ...times };
});
