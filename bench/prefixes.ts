// What do shared prefixes and saved sessions save? Time to the first token of requests that begin with one prompt, and of
// the next turn of a conversation that another process takes up, each beside the same computed anew. Texts are compared
// with those of an engine that shares nothing before a time counts.

import { readFileSync } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Engine, type Message, SHIPPED_MODEL, UserError } from "../src/index.ts";
import { median } from "../src/numbers.ts";
import type { TurnReply } from "./prefixes/next-turn.ts";
import { ask } from "./process.ts";
import { machine, printTable, save, wholeNumber } from "./report.ts";

const ASK = { temperature: 0, maxTokens: 4, ignoreEos: true, logprobs: 2 } as const;
const ANSWER = { temperature: 0, maxTokens: 12, ignoreEos: true } as const;
const TALE = join(import.meta.dirname, "../test/fixtures/text/stories.txt");

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      model: { type: "string", default: SHIPPED_MODEL },
      prompt: { type: "string", default: "400" },
      requests: { type: "string", default: "8" },
      turns: { type: "string", default: "8" },
      json: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
    },
  });
  const tokens = wholeNumber("--prompt", values.prompt, 16, 100_000);
  const requests = wholeNumber("--requests", values.requests, 2, 64);
  const turns = wholeNumber("--turns", values.turns, 1, 1000);
  const { model } = values;
  const shared = await sharedPrompt(model, tokens, requests);
  const chat = await savedChat(model, turns);
  const result = {
    question: "prefixes",
    model,
    machine: machine(),
    device: shared.device,
    shared,
    chat,
  };
  if (values.json) console.log(JSON.stringify(result));
  else {
    const { first, others, ratio, pages, alone } = shared;
    printTable(
      ["a prompt of requests that begin alike", "ms to the first token"],
      [
        ["the first request", first.toFixed(0)],
        [
          `the ${requests - 1} others, median`,
          `${median(others).toFixed(0)}, ${(100 * ratio).toFixed(0)} % of that`,
        ],
      ],
    );
    console.log(`${pages} pages held by all at the same time; each alone would hold ${alone}`);
    printTable(
      [`the turn after ${turns} turns, in another process`, "ms to the first token"],
      [
        ["computed anew", chat.anew.toFixed(0)],
        ["from its session", `${chat.taken.toFixed(0)} and ${chat.openMs.toFixed(0)} to open it`],
      ],
    );
    console.log(
      `${chat.tokens} tokens, ${chat.bytes} bytes, ${(chat.bytes / chat.pageBytes).toFixed(3)} times those of its pages; saved in ${chat.saveMs.toFixed(0)} ms`,
    );
  }
  if (values.save) await save("prefixes", result);
}

/** Time to the first token of requests that begin with the same tokens, one after the other. */
async function sharedPrompt(model: string, tokens: number, requests: number) {
  const context = tokens + 64;
  await using engine = await Engine.load(model, {
    context,
    cacheTokens: 2 * context,
    sequences: requests,
  });
  await using alone = await Engine.load(model, { context, prefixes: false });
  const text = readFileSync(TALE, "utf8");
  const prompt = engine.tokenize(text).slice(0, tokens);
  if (prompt.length < tokens)
    throw new UserError(`--prompt ${tokens}: the text has ${prompt.length} tokens.`);
  const tails = Array.from({ length: requests }, (_, i) =>
    engine.tokenize(` And number ${i + 1}`, { continuation: true, addSpecial: false }),
  );
  const prompts = tails.map((tail) => [...prompt, ...tail]);
  await engine.complete(prompt.slice(0, 40).toReversed(), ASK); // warms up
  const times: number[] = [];
  for (const ids of prompts) {
    const began = performance.now();
    let first: number | undefined;
    const generation = engine.generate(ids, ASK);
    for await (const _ of generation) first ??= performance.now() - began;
    times.push(first!);
    await check(alone, ids, (await generation.result).tokens);
  }
  let pages = 0;
  const watch = setInterval(() => {
    pages = Math.max(pages, engine.usage.pages);
  });
  await Promise.all(prompts.map((ids) => engine.complete(ids, ASK)));
  clearInterval(watch);
  const { pageSize } = engine.setting.cache.shape;
  const each =
    Math.ceil((prompts[0]!.length + ASK.maxTokens) / pageSize) * engine.setting.cache.groups.length;
  const [first, ...others] = times as [number, ...number[]];
  const device = engine.loaded.adapter;
  return {
    device,
    tokens,
    requests,
    first,
    others,
    ratio: median(others) / first,
    pages,
    alone: each * requests,
  };
}

/** Throws unless the tokens are those of the same request alone, or part at a near-tie. */
async function check(
  alone: Engine,
  ids: readonly number[],
  tokens: readonly number[],
): Promise<void> {
  const expected = await alone.complete(ids, ASK);
  const at = tokens.findIndex((id, i) => id !== expected.tokens[i]);
  if (at < 0) return;
  const [first, second] = expected.logprobs[at]!.top!;
  // Where a prompt is computed in other steps, sums may differ in their last bits.
  if (first!.logprob - second!.logprob < 1e-4) return;
  throw new Error(`token ${at} of a request that shares its prompt differs from the same alone`);
}

/** A conversation, saved, and its next turn in another process, with the session and without. */
async function savedChat(model: string, turns: number) {
  const folder = await mkdtemp(join(tmpdir(), "dawnstream-prefixes-"));
  const file = join(folder, "chat.session");
  try {
    const messages: Message[] = [];
    let saveMs = 0;
    let pageBytes = 0;
    {
      await using engine = await Engine.load(model);
      let usage = { promptTokens: 0, generatedTokens: 0 };
      for (let turn = 1; turn <= turns; turn++) {
        messages.push({ role: "user", content: `Tell me about number ${turn}.` });
        const { message, usage: now } = await engine.chat(messages, {
          ...ANSWER,
          template: "chatml",
        }).result;
        messages.push(message);
        usage = now;
      }
      const began = performance.now();
      await engine.saveSession(file, messages);
      saveMs = performance.now() - began;
      const { shape, groups } = engine.setting.cache;
      const pages = Math.ceil((usage.promptTokens + usage.generatedTokens - 1) / shape.pageSize);
      const layers = groups.reduce((sum, group) => sum + group.layers.length, 0);
      pageBytes = pages * layers * 2 * shape.kvHeads * shape.headWidth * shape.pageSize * 2; // f16
    }
    messages.push({ role: "user", content: "And the last one?" });
    const request = { model, messages, options: { ...ANSWER, template: "chatml" } };
    const taken = await ask<TurnReply>("prefixes/next-turn.ts", { ...request, file });
    const anew = await ask<TurnReply>("prefixes/next-turn.ts", request);
    // The tokens of a session are those that were generated; a text that is read anew may be cut otherwise.
    if (taken.cachedTokens < 0.9 * taken.promptTokens)
      throw new Error("the session was not taken up");
    const { size: bytes } = await stat(file);
    return {
      turns,
      tokens: taken.promptTokens,
      ...{
        bytes,
        pageBytes,
        saveMs,
        openMs: taken.openMs,
        taken: taken.firstMs,
        anew: anew.firstMs,
      },
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}
