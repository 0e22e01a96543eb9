// Conversations with a model: what a turn computes, what it reads, and what is refused.

import { beforeAll, describe, expect, test } from "vitest";
import { conversationMemory } from "../../../src/context/text/memory/conversation-memory.ts";
import type { Message } from "../../../src/context/text/message.ts";
import type { ChatOptions, ChatResult } from "../../../src/engine/chat/chat.ts";
import { chatBudget } from "../../../src/engine/chat/chat-budget.ts";
import { chatPrompt } from "../../../src/engine/chat/chat-prompt.ts";
import { ChatTemplate } from "../../../src/engine/chat/chat-template.ts";
import { chatTemplateOf } from "../../../src/engine/chat/chosen-template.ts";
import { requestPrompt } from "../../../src/engine/chat/request-prompt.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { LAST_LOGITS } from "../../../src/engine/run/step.ts";
import { prefill } from "../../../src/engine/tasks/prefill.ts";
import {
  ContextOverflowError,
  MessageTooLongError,
  type SummaryRequest,
} from "../../../src/index.ts";
import { loadEngine } from "../../support/engine.ts";
import { fixtureModel } from "../../support/models.ts";
import { nmse } from "../../support/oracle.ts";

const QUESTIONS = ["Once upon a time", "Who was there?", "And then?"];
const user = (content: string): Message => ({ role: "user", content });

let engine: Engine;
beforeAll(async () => {
  engine = await loadEngine(fixtureModel("stories260K-F32.gguf"), {
    context: 256,
    prefixes: false, // a cold start finds nothing
    kv: "f32",
    cacheTokens: 512,
  });
});

const named = (name: string) => chatTemplateOf(engine.tokenizer.vocabulary, name).template;

async function answer(conversation: readonly Message[], options: ChatOptions): Promise<ChatResult> {
  const generation = engine.chat(conversation, { maxTokens: 12, temperature: 0, ...options });
  for (;;) {
    const { done, value } = await generation.next();
    if (done) return value;
  }
}

describe.each(["zephyr", "chatml", "plain"])("with the template %s", (name) => {
  test("a turn computes what is new and nothing else, and reads what a cold start reads", async () => {
    using prefixCache = engine.prefixCache();
    const options = { template: named(name), prefixCache };
    const conversation: Message[] = [];
    let known = 0;
    for (const question of QUESTIONS) {
      conversation.push(user(question));
      const { message, usage, tokens } = await answer(conversation, options);
      expect(usage.cachedTokens).toBe(known);
      using unused = engine.prefixCache();
      const cold = await answer(conversation, { ...options, prefixCache: unused });
      expect(cold.usage.cachedTokens).toBe(0);
      expect(tokens).toEqual(cold.tokens);
      expect(message).toEqual({ role: "assistant", content: cold.text });
      conversation.push(message);
      known = usage.promptTokens + tokens.length - 1; // the last has been chosen, and not been read yet
    }

    conversation.push(user("Why?"));
    const { ids } = chatPrompt(engine.tokenizer, options.template, conversation, {
      addGenerationPrompt: true,
    });
    const warm = prefixCache.take(ids, engine.setting.policy);
    expect(warm.length).toBe(known);
    const warmLogits = await prefill(engine, warm, ids.slice(known), LAST_LOGITS);
    warm.clear();
    const cold = engine.sequence();
    // The two ways differ in the order of sums in f32 only: 2e-13 was seen over 200 tokens.
    expect(nmse(warmLogits, await prefill(engine, cold, ids, LAST_LOGITS))).toBeLessThan(1e-11);
    cold.clear();
  });
});

test("a template that writes an answer otherwise than it was spoken has it computed again, and no more", async () => {
  const source = `{% for m in messages %}{{ m.role }}: {{ m.content | upper }}\n{% endfor %}assistant: `;
  const template = new ChatTemplate(source, { bos: "<s>", eos: "</s>" });
  using prefixCache = engine.prefixCache();
  const first = await answer([user(QUESTIONS[0]!)], { template, prefixCache });
  const conversation = [user(QUESTIONS[0]!), first.message, user(QUESTIONS[1]!)];
  const second = await answer(conversation, { template, prefixCache });
  const spoken = first.usage.promptTokens + first.tokens.length - 1;
  expect(second.usage.cachedTokens).toBeLessThan(spoken);
  expect(second.tokens).toEqual((await answer(conversation, { template })).tokens);
});

// Hugging Face decodes an answer of SentencePiece's without the space of its first token.
test.each(["mistral", "llama2", "zephyr", "plain"])(
  "an answer begins without the space of its first token, and stays in the cache: %s",
  async (name) => {
    const template = named(name);
    using prefixCache = engine.prefixCache();
    const options = { template, prefixCache, logitBias: new Map([[403, 100]]), maxTokens: 1 };
    const first = await answer([user(QUESTIONS[0]!)], options);
    expect([engine.tokenizer.vocabulary.text(403), first.tokens]).toEqual(["▁Once", [403]]);
    expect(first.message.content).toBe("Once");
    const conversation = [user(QUESTIONS[0]!), first.message, user(QUESTIONS[1]!)];
    expect(template.render(conversation)).not.toContain("  Once");
    const second = await answer(conversation, options);
    expect(second.usage.cachedTokens).toBe(first.usage.promptTokens);
    const { ids } = chatPrompt(engine.tokenizer, template, [user(QUESTIONS[0]!)], {
      addGenerationPrompt: true,
    });
    expect(prefixCache.ids.slice(0, ids.length + 1)).toEqual([...ids, 403]);
  },
);

test("answers stay as they were spoken, though their text would be tokenized otherwise", async () => {
  const template = named("zephyr");
  let respelled = 0;
  for (let seed = 1; seed <= 8; seed++) {
    using prefixCache = engine.prefixCache();
    const options = { template, prefixCache, temperature: 1.5, topK: 0, topP: 1, minP: 0, seed };
    const first = await answer([user(QUESTIONS[0]!)], options);
    const conversation = [user(QUESTIONS[0]!), first.message, user(QUESTIONS[1]!)];
    const encoding = { addSpecial: false, continuation: true };
    const written = engine.tokenizer.encode(first.text, encoding);
    if (String(written) !== String(first.tokens)) respelled++;
    const second = await answer(conversation, options);
    const { promptTokens } = first.usage;
    // Half a character at the end is the exception: its text cannot say what it was.
    const isWhole = !first.text.endsWith("\ufffd");
    if (isWhole) expect(second.usage.cachedTokens).toBe(promptTokens + first.tokens.length - 1);
    expect(second.usage.cachedTokens).toBeGreaterThanOrEqual(promptTokens);
  }
  expect(respelled, "else this would say nothing").toBeGreaterThan(0);
});

test("another conversation, or a shorter one, keeps what it begins with in common", async () => {
  const options = { template: named("plain") };
  const long = [user(QUESTIONS[0]!), (await answer([user(QUESTIONS[0]!)], options)).message];
  const whole = [...long, user(QUESTIONS[1]!)];
  const first = await answer(whole, options);
  const changed = [...long, user("Who is it?")];
  const second = await answer(changed, options);
  expect(second.usage.cachedTokens).toBeGreaterThan(10);
  expect(second.usage.cachedTokens).toBeLessThan(first.usage.promptTokens);
  using unused = engine.prefixCache();
  const fresh = await answer(changed, { ...options, prefixCache: unused });
  expect(second.tokens).toEqual(fresh.tokens);
});

test("an answer that is broken off has been said as far as it went", async () => {
  const controller = new AbortController();
  const options = { template: named("plain"), temperature: 0, maxTokens: 40 };
  const generation = engine.chat([user(QUESTIONS[0]!)], { ...options, signal: controller.signal });
  for (let pieces = 1; ; pieces++) {
    const { done, value } = await generation.next();
    if (done) {
      expect(value.finishReason).toBe("aborted");
      expect(value.message.content).toBe(value.text);
      const next = [user(QUESTIONS[0]!), value.message, user(QUESTIONS[1]!)];
      const { usage } = await answer(next, options);
      // The last token is in the cache, too, if a step was ahead of the reader.
      const said = value.usage.promptTokens + value.tokens.length;
      expect([said - 1, said]).toContain(usage.cachedTokens);
      break;
    }
    if (pieces === 5) controller.abort();
  }
});

describe("a conversation that outgrows the context", () => {
  const conversation: Message[] = [{ role: "system", content: "Tell me a story." }];
  for (let i = 0; i < 12; i++) {
    conversation.push(user(`The dog number ${i} was big and red.`));
    conversation.push({ role: "assistant", content: "It was a very good dog indeed." });
  }
  conversation.push(user("What was it?"));
  const tokenizer = () => engine.tokenizer;

  test("is refused without a memory", async () => {
    const options = { template: named("plain") };
    await expect(answer(conversation, options)).rejects.toThrow(ContextOverflowError);
  });

  test.each(["buffer", "turns", "summary"] as const)("is cut by the memory %s", async (kind) => {
    const summaries: string[] = [];
    const summarize = async (text: string) => {
      // The engine's own work in between takes the pages, and gives them back.
      const { text: told } = await engine.complete(text.slice(-100), { maxTokens: 20 });
      summaries.push(told);
      return told;
    };
    const options = kind === "buffer" ? { kind } : { kind, turns: 2 };
    const memory = conversationMemory(options, { summarize, tokenizer: tokenizer() });
    const template = named("zephyr");
    const { recollection, usage } = await answer(conversation, { template, memory });
    const budget = chatBudget(engine, { template, memory, maxTokens: 12 });
    expect(recollection!.tokens).toBeLessThanOrEqual(budget.tokens);
    expect(recollection!.messages.length).toBeLessThan(conversation.length);
    expect(recollection!.messages.at(-1)).toEqual(conversation.at(-1));
    expect(usage.promptTokens + 12).toBeLessThanOrEqual(256);
    expect(usage.promptTokens - recollection!.tokens).toBeLessThan(20); // what opens the answer
    expect(summaries.length > 0).toBe(kind === "summary");
  });

  test("is read whole where the cache forgets", async () => {
    const memory = conversationMemory({ kind: "sinks", sinks: 4, window: 100 });
    const { recollection, usage } = await answer(conversation, {
      template: named("plain"),
      memory,
    });
    expect(usage.promptTokens).toBeGreaterThan(256);
    expect(recollection!.tokens).toBe(104);
    expect(usage.freeTokens).toBe(Number.POSITIVE_INFINITY);
    expect(engine.usage.pages).toBeLessThanOrEqual(9); // 104 tokens in pages of 16
  });

  test("computes no more than what is new, however long it has become", async () => {
    const memory = conversationMemory({ kind: "sinks", sinks: 4, window: 100 });
    using prefixCache = engine.prefixCache();
    const options = {
      template: named("zephyr"),
      memory,
      prefixCache,
      temperature: 1.5,
      topK: 0,
      minP: 0,
    };
    const talk: Message[] = [];
    let known = 0;
    for (let turn = 1; turn <= 8; turn++) {
      talk.push(user(`The dog number ${turn} was big and red.`));
      const { message, usage, tokens } = await answer(talk, { ...options, seed: turn });
      expect(usage.cachedTokens).toBe(known);
      if (message.content.endsWith("\ufffd")) break; // half a character is written otherwise
      talk.push(message);
      known = usage.promptTokens + tokens.length - 1;
    }
    expect(known).toBeGreaterThan(300);
  });

  test("gives a long question a short answer, unless a long one is asked for", async () => {
    const options = { template: named("plain"), memory: conversationMemory({ kind: "buffer" }) };
    const long = [user("dog ".repeat(105))]; // 214 tokens of 256
    const { usage } = await answer(long, { ...options, maxTokens: undefined, ignoreEos: true });
    expect(usage.promptTokens).toBeGreaterThan(256 - 64);
    expect(usage.freeTokens).toBe(0);
    await expect(answer(long, { ...options, maxTokens: 64 })).rejects.toThrow(MessageTooLongError);
  });

  test("stops or slides with its context, where that is asked for", async () => {
    const path = fixtureModel("stories260K-F32.gguf");
    for (const whenFull of ["stop", { keep: 4 }] as const) {
      const own = await loadEngine(path, { context: 128, whenFull });
      const memory = conversationMemory({ kind: "buffer" });
      const options = { memory, template: named("plain"), maxTokens: 150, ignoreEos: true };
      for await (const _ of own.chat(conversation, options)); // refused where the answer must end within it
    }
  });

  test("is not read where its memory is aborted, and nothing is said", async () => {
    const controller = new AbortController();
    const summarize = async (_: string, { signal }: SummaryRequest) => {
      controller.abort();
      signal?.throwIfAborted();
      return "never";
    };
    const memory = conversationMemory(
      { kind: "summary", turns: 1 },
      { summarize, tokenizer: tokenizer() },
    );
    const options = { template: named("zephyr"), memory, signal: controller.signal };
    const { finishReason, text, usage } = await answer(conversation, options);
    expect({ finishReason, text }).toEqual({ finishReason: "aborted", text: "" });
    expect(usage.generatedTokens).toBe(0);
  });

  test("leaves room for the answer that is asked for, or says that there is none", async () => {
    const memory = conversationMemory({ kind: "buffer" });
    const options = { template: named("plain"), memory };
    const few = await answer(conversation, { ...options, maxTokens: 10 });
    const many = await answer(conversation, { ...options, maxTokens: 200 });
    expect(many.usage.promptTokens).toBeLessThanOrEqual(56);
    expect(few.usage.promptTokens).toBeGreaterThan(many.usage.promptTokens);
    await expect(answer(conversation, { ...options, maxTokens: 256 })).rejects.toThrow(
      "An answer of 256 tokens leaves no room for a question in the 256 that the model sees",
    );
  });
});

test("a request becomes a conversation where the file has a template, and stays a text where it has none", () => {
  expect(engine.promptFor("Tell me.")).toBe("Tell me.");
  const { vocabulary } = engine.tokenizer;
  const chatTemplates = new Map([
    ["default", chatTemplateOf(vocabulary, "zephyr").template.source],
  ]);
  const tokenizer = { ...engine.tokenizer, vocabulary: { ...vocabulary, chatTemplates } };
  const written = "<s><|user|>\nTell me.</s>\n<|assistant|>\n";
  const ids = tokenizer.encode(written, { addSpecial: false, parseSpecial: true });
  expect(requestPrompt({ tokenizer }, "Tell me.")).toEqual(ids);
});

describe("what is refused", () => {
  test.each<[string, Message[], string]>([
    ["nothing", [], "the last message must be the user's"],
    ["an answer to answer", [{ role: "assistant", content: "Yes." }], "the last message must be"],
    ["a system by itself", [{ role: "system", content: "Be good." }], "the last message must be"],
  ])("%s", async (_, conversation, reason) => {
    await expect(answer(conversation, {})).rejects.toThrow(reason);
  });

  test("what the template refuses", async () => {
    const twice = [user("One."), user("Two.")];
    await expect(answer(twice, { template: named("llama2") })).rejects.toThrow(
      /The chat template refuses this conversation: .*alternate/,
    );
    expect((await answer(twice, { template: named("plain") })).tokens.length).toBe(12);
  });

  test("no more than what is given: no cache of one's own is the engine's", async () => {
    const options = { template: named("plain"), prefixCache: undefined };
    const first = await answer([user("Once upon")], options);
    const next = [user("Once upon"), first.message, user("And?")];
    expect((await answer(next, options)).usage.cachedTokens).toBeGreaterThan(5);
  });

  test("a chat without a cache keeps nothing", async () => {
    const { usage } = await answer([user("Hi")], { cache: false, template: named("plain") });
    expect(usage.cachedTokens).toBe(0);
  });
});
