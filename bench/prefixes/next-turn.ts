// The next turn of a conversation, from a saved session or computed anew: a process of `bench prefixes`.

import { type ChatOptions, Engine, type Message } from "../../src/index.ts";
import { answer } from "../process.ts";

interface Request {
  readonly model: string;
  readonly messages: readonly Message[];
  readonly options: ChatOptions;
  readonly file?: string;
}

export interface TurnReply {
  readonly openMs: number;
  readonly firstMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
}

await answer(async ({ model, messages, options, file }: Request): Promise<TurnReply> => {
  await using engine = await Engine.load(model);
  let began = performance.now();
  if (file !== undefined) await engine.openSession(file);
  const openMs = performance.now() - began;
  began = performance.now();
  let first: number | undefined;
  const generation = engine.chat(messages, options);
  for await (const _ of generation) first ??= performance.now() - began;
  const { promptTokens, cachedTokens } = (await generation.result).usage;
  return { openMs, firstMs: first!, promptTokens, cachedTokens };
});
