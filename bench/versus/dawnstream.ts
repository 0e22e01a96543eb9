// dawnstream's side of the benches against other engines, through the public interface that a user has.

import { Engine } from "../../src/index.ts";
import { answer } from "../process.ts";
import { checkedText, contextOf, type Request, timeTokens } from "./protocol.ts";

await answer(async (request: Request) => {
  const { model, prompt, tokens, batch, wanted } = request;
  await using engine = await Engine.load(model, {
    context: contextOf(request),
    chunk: batch,
    prefixes: false, // every prompt is computed anew
  });
  async function* generate(): AsyncGenerator<number, void, void> {
    const options = { temperature: 0, maxTokens: tokens, ignoreEos: true };
    for await (const { id } of engine.generate(prompt, options)) yield id;
  }
  const times = await timeTokens(request, async () => generate());

  const logits: Float32Array[] = [];
  const text = wanted > 0 ? checkedText(request, times.ids) : [];
  const sequence = engine.sequence();
  const rest = text.length - wanted;
  for (let at = 0; at < text.length; ) {
    const tokens = text.slice(at, at < rest ? Math.min(at + sequence.stepLimit, rest) : at + 1);
    const isWanted = at >= rest;
    const rows = isWanted ? ({ kind: "logits", rows: 1 } as const) : ({ kind: "nothing" } as const);
    const found = await engine.run({ sequence, tokens, wanted: rows });
    if (found) logits.push(found);
    at += tokens.length;
  }
  return { device: engine.loaded.adapter, logits, ...times };
});
