// What every strategy of memory promises, on random conversations, and what each one promises for itself, by hand.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  conversationMemory,
  type MemoryOptions,
  parseMemory,
} from "../../../src/context/text/memory/conversation-memory.ts";
import {
  type Fate,
  type MemoryBudget,
  MessageTooLongError,
} from "../../../src/context/text/memory/memory.ts";
import { SUMMARY_OPENING, SUMMARY_SHARE } from "../../../src/context/text/memory/summary.ts";
import type { Message, Role } from "../../../src/context/text/message.ts";
import type { Summarizer } from "../../../src/context/text/summarizer.ts";
import type { TextTokenizer } from "../../../src/context/text/text-tokenizer.ts";
import { createTokenizer } from "../../../src/engine/tokenizer/tokenizer.ts";
import { UserError } from "../../../src/errors.ts";
import { fixtureMetadata } from "../../engine/tokenizer/vocabularies.ts";

const spm = createTokenizer(await fixtureMetadata("llama-spm"));
const bpe = createTokenizer(await fixtureMetadata("gpt-2"));

/** A token a character, and one for who says it. */
const characters: TextTokenizer = {
  encode: (text) => [...text].map((character) => character.codePointAt(0)!),
  decoder: () => ({ push: (id) => String.fromCodePoint(id) }),
};
const countCharacters = (messages: readonly Message[]) =>
  messages.reduce((sum, { content }) => sum + 1 + [...content].length, 0);

const countLines = (tokenizer: typeof spm) => (messages: readonly Message[]) =>
  tokenizer.encode(messages.map(({ role, content }) => `${role}: ${content}\n`).join("")).length;

interface Counter {
  readonly name: string;
  readonly tokenizer: TextTokenizer;
  readonly count: MemoryBudget["count"];
}
const COUNTERS: readonly Counter[] = [
  { name: "characters", tokenizer: characters, count: countCharacters },
  { name: "llama-spm", tokenizer: spm, count: countLines(spm) },
  { name: "gpt-2", tokenizer: bpe, count: countLines(bpe) },
];

const STRATEGIES = [
  "turns:1",
  "turns:3",
  "buffer",
  "summary",
  "summary:3",
  "sinks:4+12",
  "sinks:0+1",
];

/** Summarizers that do what they should, and some that do not. */
const SUMMARIZERS: Readonly<Record<string, Summarizer>> = {
  short: async (text) => `${[...text].length} characters`,
  nothing: async () => "",
  blank: async () => " \n ",
  everything: async (text) => text,
  endless: async (text) => `${text} 東京 👩‍👩‍👧‍👦 \ud800`.repeat(20),
};

const WORDS = [
  ..."the quick brown fox unbelievable a I 3.14159 </s> <|im_end|> system: user:".split(" "),
  ..."Привет 東京 こんにちは שלום مرحبا ไทย नमस्ते 👩‍👩‍👧‍👦 🙂 e\u0301".split(" "),
];
const contents = fc.array(fc.constantFrom(...WORDS), { maxLength: 8 }).map((w) => w.join(" "));
/** Mostly as people write them; now and then with several system messages, a greeting, or two questions in a row. */
const conversations = fc.array(
  fc.record({
    role: fc.constantFrom<Role>("user", "assistant", "user", "assistant", "user", "system"),
    content: contents,
  }),
  { minLength: 1, maxLength: 14, size: "max" },
);
const budgets = fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 400 }));

/** Of each message, the number of its turn; undefined for system messages. Written another way than the code. */
function turnNumbers(conversation: readonly Message[]): (number | undefined)[] {
  let turn = -1;
  return conversation.map(({ role }) => {
    if (role === "system") return undefined;
    if (role === "user" || turn === -1) turn++;
    return turn;
  });
}

/** What has to be kept: system messages and the last turn. */
function needed(conversation: readonly Message[]): Message[] {
  const turns = turnNumbers(conversation);
  const last = Math.max(-1, ...turns.filter((turn) => turn !== undefined));
  return conversation.filter((_, i) => turns[i] === undefined || turns[i] === last);
}

async function outcome<T>(promise: Promise<T>): Promise<T | UserError> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}

const user = (content: string): Message => ({ role: "user", content });
const assistant = (content: string): Message => ({ role: "assistant", content });
const system = (content: string): Message => ({ role: "system", content });
const kinds = (fates: readonly Fate[]) => fates.map(({ kind }) => kind);
const toy = (tokens: number): MemoryBudget => ({ tokens, count: countCharacters });

describe.each(COUNTERS)("counted by $name", ({ tokenizer, count }) => {
  const texts = STRATEGIES.filter((name) => !name.startsWith("sinks"));
  const summarizers = Object.keys(SUMMARIZERS);

  test.each(texts)(
    "%s: within the budget, in order, turns whole, or a typed error",
    async (name) => {
      await fc.assert(
        fc.asyncProperty(
          conversations,
          budgets,
          fc.constantFrom(...summarizers),
          async (conversation, tokens, kind) => {
            const summarize = SUMMARIZERS[kind]!;
            const memory = conversationMemory(parseMemory(name), { summarize, tokenizer });
            const must = count(needed(conversation));
            const result = await outcome(memory.recall(conversation, { tokens, count }));
            if (result instanceof UserError) {
              expect(result).toBeInstanceOf(MessageTooLongError);
              expect(must).toBeGreaterThan(tokens);
              const error = result as MessageTooLongError;
              const { index, role } = error;
              expect(needed(conversation)).toContain(conversation[index]);
              expect(role).toBe(conversation[index]!.role);
              expect(error).toMatchObject({ needed: must, budget: tokens });
              expect(error.tokens).toBe(count([conversation[index]!]));
              expect(error.message).toMatch(/^[^\n]+$/);
              return;
            }
            expect(must).toBeLessThanOrEqual(tokens);
            const { messages, fates } = result;
            expect(result.tokens).toBe(count(messages));
            expect(result.tokens).toBeLessThanOrEqual(tokens);

            // Order, and nothing that was not said but one summary, in or behind the system messages that open.
            const kept = conversation.filter((_, i) => fates[i]!.kind === "kept");
            const gone = conversation.filter((_, i) => fates[i]!.kind !== "kept");
            expect(result.summary !== undefined).toBe(
              fates.some(({ kind }) => kind === "summarised"),
            );
            if (result.summary === undefined) {
              expect(messages).toEqual(kept);
            } else {
              const opening = conversation.findIndex(({ role }) => role !== "system");
              const summary = SUMMARY_OPENING + result.summary;
              const last = conversation[opening - 1];
              const told = system(last ? `${last.content}\n\n${summary}` : summary);
              expect(messages).toEqual(last ? kept.with(opening - 1, told) : [told, ...kept]);
              expect(count([system(summary)])).toBeLessThanOrEqual(tokens * SUMMARY_SHARE);
              expect(kinds(fates)).not.toContain("dropped");
            }

            // System messages stay; turns are whole; those that stay are the latest, the last among them.
            expect(gone.filter(({ role }) => role === "system")).toEqual([]);
            const turns = turnNumbers(conversation);
            const keptTurns = new Set(turns.filter((_, i) => fates[i]!.kind === "kept"));
            const goneTurns = new Set(turns.filter((_, i) => fates[i]!.kind !== "kept"));
            keptTurns.delete(undefined);
            expect([...keptTurns].filter((turn) => goneTurns.has(turn))).toEqual([]);
            expect(Math.max(-1, ...(goneTurns as Set<number>))).toBeLessThan(
              Math.min(conversation.length, ...(keptTurns as Set<number>)),
            );
            const isMost = name.endsWith(":3") ? 3 : name === "buffer" ? Infinity : 1;
            const all = count(conversation) <= tokens;
            if (!(all && name.startsWith("summary"))) {
              expect(keptTurns.size).toBeLessThanOrEqual(isMost);
            }
            if (all && (name === "buffer" || name.startsWith("summary"))) expect(gone).toEqual([]);
            // One turn more would not have fitted.
            if (!name.startsWith("summary") && keptTurns.size < isMost && gone.length > 0) {
              const next = Math.max(...(goneTurns as Set<number>));
              const more = conversation.filter((_, i) => !(turns[i]! < next));
              expect(count(more)).toBeGreaterThan(tokens);
            }
          },
        ),
        { numRuns: 300 },
      );
    },
  );

  test.each(STRATEGIES)("%s: a pure function, whatever it was asked before", async (name) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(conversations, fc.nat(), budgets, budgets), {
          minLength: 2,
          maxLength: 4,
        }),
        async (asked) => {
          const make = () =>
            conversationMemory(parseMemory(name), {
              summarize: SUMMARIZERS.everything!,
              tokenizer,
            });
          const used = make();
          for (const [conversation, length, little, much] of asked) {
            // A beginning first, as it is while people talk; then more of it, or another budget.
            const all = conversation.length;
            for (const [end, tokens] of [
              [1 + (length % all), little],
              [all, little],
              [all, much],
            ] as const) {
              const part = conversation.slice(0, end);
              const result = await outcome(used.recall(part, { tokens, count }));
              expect(result).toEqual(await outcome(make().recall(part, { tokens, count })));
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test.each([
    [4, 12],
    [0, 1],
    [1, 30],
    [0, 25],
  ])("sinks:%i+%i: fates are those of a walk over all tokens", async (sinks, window) => {
    await fc.assert(
      fc.asyncProperty(conversations, budgets, async (conversation, tokens) => {
        const memory = conversationMemory({ kind: "sinks", sinks, window });
        expect(memory.attention).toEqual({ kind: "sinks", sinks, window });
        const result = await outcome(memory.recall(conversation, { tokens, count }));
        if (result instanceof UserError) {
          expect(sinks + window).toBeGreaterThan(tokens);
          expect(result.message).toMatch(
            /^Memory sinks:\d+\+\d+ sees up to \d+ tokens and exceeds/,
          );
          return;
        }
        expect(sinks + window).toBeLessThanOrEqual(tokens);
        const ends = conversation.map((_, i) => count(conversation.slice(0, i + 1)));
        const total = ends.at(-1)!;
        const fates = conversation.map((_, i): Fate => {
          const positions = Array.from({ length: total }, (_, j) => j).slice(
            i === 0 ? 0 : ends[i - 1],
            ends[i],
          );
          const seen = positions.filter((j) => j < sinks || total - 1 - j < window).length;
          if (seen === positions.length) return { kind: "kept" };
          if (seen === 0) return { kind: "dropped" };
          return { kind: "part", visible: seen, tokens: positions.length };
        });
        expect(result.fates).toEqual(fates);
        expect(result.messages).toEqual(conversation);
        expect(result.tokens).toBe(Math.min(total, sinks + window));
      }),
      { numRuns: 200 },
    );
  });
});

describe("turns", () => {
  // 7 + 5 + 5 + 7 + 7 + 3 = 34 tokens
  const talk = [
    system("be kind"),
    user("hi, you"),
    assistant("hello"),
    user("how old"),
    assistant("seven!"),
    user("bye"),
  ];
  const recall = async (name: string, conversation: readonly Message[], tokens: number) =>
    (await conversationMemory(parseMemory(name)).recall(conversation, toy(tokens))).fates.map(
      ({ kind }) => kind[0],
    );

  test("turns:K keeps the last K, and fewer where the budget is short", async () => {
    expect(await recall("turns:1", talk, 100)).toEqual([..."kddddk"]);
    expect(await recall("turns:2", talk, 100)).toEqual([..."kddkkk"]);
    expect(await recall("turns:9", talk, 100)).toEqual([..."kkkkkk"]);
    expect(await recall("turns:2", talk, 27)).toEqual([..."kddkkk"]); // 8 + 8 + 7 + 4
    expect(await recall("turns:2", talk, 26)).toEqual([..."kddddk"]);
  });

  test("buffer keeps all that fits, turn by turn", async () => {
    expect(countCharacters(talk)).toBe(41);
    expect(await recall("buffer", talk, 41)).toEqual([..."kkkkkk"]);
    expect(await recall("buffer", talk, 40)).toEqual([..."kddkkk"]);
    expect(await recall("buffer", talk, 12)).toEqual([..."kddddk"]);
    await expect(recall("buffer", talk, 11)).rejects.toThrow(MessageTooLongError);
  });

  test("a long answer takes its question with it", async () => {
    const long = [user("a"), assistant("x".repeat(50)), user("b"), assistant("c"), user("d")];
    expect(await recall("buffer", long, 20)).toEqual([..."ddkkk"]);
  });

  test("system messages stay where they stand, even between dropped turns", async () => {
    const talk = [user("a"), system("new rules"), assistant("b"), user("c"), system("end")];
    const { messages } = await conversationMemory({ kind: "turns", turns: 1 }).recall(
      talk,
      toy(50),
    );
    expect(messages).toEqual([system("new rules"), user("c"), system("end")]);
  });

  test("what an assistant says first is a turn, and so is each of two questions in a row", async () => {
    const talk = [assistant("hi"), assistant("there"), user("a"), user("b"), assistant("c")];
    expect(await recall("turns:1", talk, 50)).toEqual([..."dddkk"]);
    expect(await recall("turns:2", talk, 50)).toEqual([..."ddkkk"]);
    expect(await recall("turns:3", talk, 50)).toEqual([..."kkkkk"]);
    expect(await recall("buffer", talk, 12)).toEqual([..."ddkkk"]);
  });

  test("a conversation of system messages, and of a greeting, is kept whole or refused", async () => {
    for (const name of ["turns:1", "buffer"]) {
      expect(await recall(name, [system("a"), system("b")], 4)).toEqual(["k", "k"]);
      await expect(recall(name, [system("a"), system("b")], 3)).rejects.toThrow(/Message 2 \(sys/);
      expect(await recall(name, [assistant("a")], 2)).toEqual(["k"]);
    }
  });

  test("a thousand turns: what is counted grows with what is kept, not with the conversation", async () => {
    const long = Array.from({ length: 1000 }, (_, i) => [user(`question ${i}`), assistant("yes")]);
    const calls = { asked: 0, messages: 0 };
    const count = (messages: readonly Message[]) => {
      calls.asked++;
      calls.messages += messages.length;
      return countCharacters(messages);
    };
    for (const name of ["turns:10", "buffer"]) {
      calls.asked = calls.messages = 0;
      const { messages } = await conversationMemory(parseMemory(name)).recall(long.flat(), {
        tokens: 200,
        count,
      });
      expect(messages.length).toBeGreaterThan(15);
      expect(calls.asked).toBeLessThan(15);
      expect(calls.messages).toBeLessThan(15 * messages.length);
    }
    calls.asked = 0;
    await conversationMemory(parseMemory("sinks:4+200")).recall(long.flat(), {
      tokens: 204,
      count,
    });
    expect(calls.asked).toBeLessThan(20);
  });
});

describe("a message that is too long", () => {
  const talk = [system("12345"), system("123"), user("hi"), user("123456789"), assistant("ab")];
  const error = async (tokens: number) => {
    const result = await outcome(conversationMemory({ kind: "buffer" }).recall(talk, toy(tokens)));
    return result as MessageTooLongError;
  };

  test("is named: the first that does not fit of system messages, then of the last turn", async () => {
    const all = { needed: 6 + 4 + 10 + 3, name: "MessageTooLongError" };
    expect(await error(1)).toMatchObject({
      ...all,
      index: 0,
      role: "system",
      tokens: 6,
      budget: 1,
    });
    expect(await error(9)).toMatchObject({ ...all, index: 1, role: "system", tokens: 4 });
    expect(await error(19)).toMatchObject({ ...all, index: 3, role: "user", tokens: 10 });
    expect(await error(22)).toMatchObject({ ...all, index: 4, role: "assistant", tokens: 3 });
    expect(await error(23)).not.toBeInstanceOf(Error);
  });

  test("is told in one line, with the ways out", async () => {
    expect((await error(19)).message).toBe(
      "Message 4 (user, 10 tokens) must be kept and exceeds the budget of 19 tokens: system messages and the last " +
        "turn take 23; shorten the message, leave it that much room (a larger context, a shorter answer), or let the cache forget (sinks:S+W).",
    );
  });
});

describe("summaries", () => {
  /** Turns of 10 + 10 tokens. */
  const turn = (i: number) => [user(`question${i}`), assistant(`answer ${i} `)];
  const talk = (turns: number) => Array.from({ length: turns }, (_, i) => turn(i)).flat();

  /** Notes what it is told; the summary is made of the numbers in it. */
  function noting() {
    const told: { text: string; maxTokens: number; level: number }[] = [];
    const summarize: Summarizer = async (text, { maxTokens, level }) => {
      told.push({ text, maxTokens, level });
      return `numbers ${[...new Set(text.match(/\d/g))].join("")}`;
    };
    return { told, summarizing: { summarize, tokenizer: characters } };
  }

  test("nothing is summarised while everything fits", async () => {
    const { told, summarizing } = noting();
    for (const name of ["summary", "summary:2"]) {
      const memory = conversationMemory(parseMemory(name), summarizing);
      expect(memory.name).toBe(name);
      const { messages } = await memory.recall(talk(5), toy(100));
      expect(messages).toEqual(talk(5));
    }
    expect(told).toEqual([]);
  });

  test("each turn is told once, as it falls out, with the summary so far", async () => {
    const { told, summarizing } = noting();
    const memory = conversationMemory({ kind: "summary", turns: 2 }, summarizing);
    const rules = system("rules");
    const budget = toy(220);
    await memory.recall([rules, ...talk(11)], budget); // 6 + 220
    // 220 / 4 = 55, less the opening and who says it
    const maxTokens = 55 - 1 - SUMMARY_OPENING.length;
    expect(told[0]).toEqual({ text: "user: question0\nassistant: answer 0 ", maxTokens, level: 1 });
    expect(told[1]).toEqual({
      text: `${SUMMARY_OPENING}numbers 0\nuser: question1\nassistant: answer 1 `,
      maxTokens,
      level: 2,
    });
    expect(told.length).toBe(9);
    const { messages, fates } = await memory.recall([rules, ...talk(12)], budget);
    expect(told.length).toBe(10);
    expect(told[9]!.text).toContain("question9");
    expect(told[9]!.text).not.toContain("question8");
    const summary = `${SUMMARY_OPENING}numbers 0123456789`;
    expect(messages).toEqual([system(`rules\n\n${summary}`), ...talk(12).slice(20)]);
    expect(kinds(fates)).toEqual([
      "kept",
      ...Array(20).fill("summarised"),
      ...Array(4).fill("kept"),
    ]);
    await memory.recall([rules, ...talk(12)], budget);
    await memory.recall([rules, ...talk(11)], budget);
    await memory.recall([rules, ...talk(12)], budget);
    expect(told.length).toBe(10);
  });

  test("another conversation hears nothing of an earlier one, nor one that differs in an old answer", async () => {
    const { told, summarizing } = noting();
    const memory = conversationMemory({ kind: "summary", turns: 1 }, summarizing);
    const budget = toy(220);
    await memory.recall(talk(12), budget);
    const others = talk(12).map(({ role, content }) => ({
      role,
      content: content.replaceAll(/\d/g, "x"),
    }));
    told.length = 0;
    const other = await memory.recall(others, budget);
    expect(JSON.stringify([told, other.messages])).not.toMatch(/question\d|numbers \d/);

    await memory.recall(talk(12), budget);
    const edited = talk(12).with(3, assistant("answer 9!!"));
    told.length = 0;
    const { messages } = await memory.recall(edited, budget);
    expect(told.length).toBe(10); // all but the first turn again
    expect(messages[0]!.content).toContain("numbers 0192345678");
  });

  test("conversations at the same time do not mix", async () => {
    const { summarizing } = noting();
    const slow: Summarizer = async (text, request) => {
      await new Promise((resolve) => setTimeout(resolve, text.includes("x") ? 1 : 2));
      return summarizing.summarize(text, request);
    };
    const make = () =>
      conversationMemory({ kind: "summary", turns: 1 }, { ...summarizing, summarize: slow });
    const others = talk(14).map(({ role, content }) => ({ role, content: `${content}x` }));
    const asked = [talk(12), others, talk(14), others.slice(4)];
    const shared = make();
    const together = await Promise.all(asked.map((one) => shared.recall(one, toy(220))));
    const alone = await Promise.all(asked.map((one) => make().recall(one, toy(220))));
    expect(together).toEqual(alone);
  });

  test("what fails is told again, what was told before is not", async () => {
    const { told, summarizing } = noting();
    let fails = true;
    const summarize: Summarizer = (text, request) => {
      if (fails && text.includes("question3")) throw new Error("lost");
      return summarizing.summarize(text, request);
    };
    const memory = conversationMemory({ kind: "summary", turns: 1 }, { ...summarizing, summarize });
    await expect(memory.recall(talk(12), toy(220))).rejects.toThrow("lost");
    expect(told.length).toBe(3);
    fails = false;
    await memory.recall(talk(12), toy(220));
    expect(told.length).toBe(11);
  });

  test("system messages among old turns are kept, and so not summarised", async () => {
    const { told, summarizing } = noting();
    const memory = conversationMemory({ kind: "summary", turns: 1 }, summarizing);
    const rules = system("rules 7");
    const { messages } = await memory.recall(talk(12).toSpliced(1, 0, rules), toy(220));
    expect(told[0]!.text).toBe("user: question0\nassistant: answer 0 ");
    expect(messages.slice(1)).toEqual([rules, ...turn(11)]);
  });

  test("recent turns leave the summary its share, and another budget another share", async () => {
    const { told, summarizing } = noting();
    const memory = conversationMemory({ kind: "summary", turns: 9 }, summarizing);
    const { fates, messages } = await memory.recall(talk(12), toy(220)); // 165 for turns of 20 to 22
    expect(kinds(fates)).toEqual([...Array(8).fill("summarised"), ...Array(16).fill("kept")]);
    expect(messages[0]).toEqual(system(`${SUMMARY_OPENING}numbers 0123`));
    told.length = 0;
    await memory.recall(talk(12), toy(216)); // 162: a turn less
    expect(told.map(({ maxTokens }) => maxTokens)).toEqual(
      Array(5).fill(54 - 1 - SUMMARY_OPENING.length),
    );
  });

  test("where nothing is told, the summary stays as it was", async () => {
    const summarize: Summarizer = async (text) => (text.includes("question0") ? "zero" : " ");
    const memory = conversationMemory(
      { kind: "summary", turns: 1 },
      { summarize, tokenizer: characters },
    );
    const { messages } = await memory.recall(talk(12), toy(220));
    expect(messages[0]).toEqual(system(`${SUMMARY_OPENING}zero`));
  });

  test("whatever it returns, a summary takes its share at most, and the last turn goes before it", async () => {
    const summarize: Summarizer = async (text) => text.repeat(100);
    const memory = conversationMemory(
      { kind: "summary", turns: 1 },
      { summarize, tokenizer: characters },
    );
    const share = async (tokens: number, conversation: readonly Message[]) => {
      const { messages } = await memory.recall(conversation, toy(tokens));
      return countCharacters(messages.filter(({ role }) => role === "system"));
    };
    expect(await share(200, talk(12))).toBe(50);
    const long = [...talk(12), user("x".repeat(155))]; // 44 of 200 are left
    expect(await share(200, long)).toBe(44);
    const longer = [...talk(12), user("x".repeat(165))]; // less than the opening takes
    expect(await share(200, longer)).toBe(0);
    const { fates } = await memory.recall(longer, toy(200));
    expect(kinds(fates)).toEqual([...Array(24).fill("dropped"), "kept"]);
  });

  test("without a summarizer there is none", () => {
    expect(() => conversationMemory(parseMemory("summary"))).toThrow(/needs a summarizer/);
  });
});

test("sinks: by hand", async () => {
  const talk = [system("abc"), user("defghi"), assistant("jk"), user("lmnop"), assistant("q")];
  // positions 0-3, 4-10, 11-13, 14-19, 20-21; seen: 0-5 and 17-21
  const { fates, tokens } = await conversationMemory(parseMemory("sinks:6+5")).recall(
    talk,
    toy(11),
  );
  expect(tokens).toBe(11);
  expect(fates).toEqual([
    { kind: "kept" },
    { kind: "part", visible: 2, tokens: 7 },
    { kind: "dropped" },
    { kind: "part", visible: 3, tokens: 6 },
    { kind: "kept" },
  ]);
});

test("budgets and conversations that make no sense are refused", async () => {
  for (const name of STRATEGIES) {
    const memory = conversationMemory(parseMemory(name), {
      summarize: SUMMARIZERS.short!,
      tokenizer: characters,
    });
    await expect(memory.recall([], toy(10))).rejects.toThrow(/no messages/);
    for (const tokens of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      await expect(memory.recall([user("a")], toy(tokens))).rejects.toThrow(/Invalid tokens/);
    }
  }
});

describe("parseMemory", () => {
  test.each<[string, MemoryOptions]>([
    ["turns:3", { kind: "turns", turns: 3 }],
    ["buffer", { kind: "buffer" }],
    ["summary", { kind: "summary", turns: 1 }],
    ["summary:4", { kind: "summary", turns: 4 }],
    ["sinks:4+252", { kind: "sinks", sinks: 4, window: 252 }],
    ["sinks:0+1", { kind: "sinks", sinks: 0, window: 1 }],
  ])("%s", (text, options) => {
    expect(parseMemory(text)).toEqual(options);
    const summarizing = { summarize: SUMMARIZERS.short!, tokenizer: characters };
    expect(conversationMemory(options, summarizing).name).toBe(text);
  });

  test.each([
    ..."turns turns:0 turns:-1 turns:1.5 turns: buffer:3 summary:0 summary: sinks sinks:4".split(
      " ",
    ),
    ..."sinks:4+0 sinks:+4 window:4 full Buffer turns:99999999999999999999".split(" "),
    "",
    " buffer",
  ])("refuses %j", (text) => {
    expect(() => parseMemory(text)).toThrow(UserError);
    expect(() => parseMemory(text)).toThrow(`Invalid memory "${text}": expected turns:K, buffer,`);
  });

  test("options by hand are checked too", () => {
    expect(() => conversationMemory({ kind: "turns", turns: 0 })).toThrow(UserError);
    expect(() => conversationMemory({ kind: "turns", turns: 1.5 })).toThrow(UserError);
    expect(() => conversationMemory({ kind: "summary", turns: Number.NaN })).toThrow(UserError);
    expect(() => conversationMemory({ kind: "sinks", sinks: -1, window: 4 })).toThrow(UserError);
  });
});
