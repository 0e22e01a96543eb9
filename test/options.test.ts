// Every public function with every one of its options given wrongly. A table of options that grows, or a function that
// is made public, fails here until it has wrong values of its own.

import { afterEach, describe, expect, test } from "vitest";
import { SUMMARIZING_READERS } from "../src/context/text/memory/conversation-memory.ts";
import { BUDGET_READERS } from "../src/context/text/memory/memory.ts";
import { ANSWER_READERS } from "../src/context/text/retrieval/answer.ts";
import {
  ADD_READERS,
  INDEX_READERS,
  RETRIEVE_READERS,
} from "../src/context/text/retrieval/text-index.ts";
import { SUMMARY_READERS } from "../src/context/text/summaries.ts";
import { TRUNCATION_READERS } from "../src/context/text/truncation.ts";
import { MAP_WINDOWS_READERS, WINDOW_READERS } from "../src/context/text/windows.ts";
import { CHAT_READERS } from "../src/engine/chat/chat.ts";
import { RENDER_READERS, TOKEN_READERS } from "../src/engine/chat/chat-template.ts";
import { GENERATE_READERS } from "../src/engine/generation/generation-request.ts";
import { DEVICE_READERS, ENGINE_READERS, resolveSetting } from "../src/engine/options.ts";
import { ATTENTION_READERS } from "../src/engine/tasks/attention-rows.ts";
import { EMBED_READERS } from "../src/engine/tasks/embedding.ts";
import { ENGINE_SUMMARY_READERS, SUMMARIZER_READERS } from "../src/engine/tasks/summarizer.ts";
import { DECODE_READERS, ENCODE_READERS } from "../src/engine/tokenizer/tokenizer.ts";
import * as dawnstream from "../src/index.ts";
import { UserError } from "../src/index.ts";
import { PULL_READERS } from "../src/platform/models/pull.ts";
import { loadEngine } from "./support/engine.ts";
import { fixtureModel } from "./support/models.ts";

const FILE = fixtureModel("stories260K-F32.gguf");
const engine = await loadEngine(FILE, { context: 128 });
const { tokenizer } = engine;
const index = new dawnstream.TextIndex(engine, { size: 16 });
await index.add("Lily had a red ball.", "story");
const { dispatches } = engine.usage;
afterEach(() => {
  expect(engine.usage.dispatches, "steps of requests that are refused").toBe(dispatches);
});

const promise = Promise.resolve(1);
const NOT_NUMBERS = ["200", Number.NaN, null, true, [3], { n: 3 }, 3n, () => 3, promise] as const;
const COUNT = [...NOT_NUMBERS, -2, 1.5, Number.POSITIVE_INFINITY];
const REAL = [...NOT_NUMBERS, -1001, Number.POSITIVE_INFINITY];
const FLAG = ["true", "yes", 1, 0, null, [], {}];
const TEXT = [5, null, true, ["a"], { text: "a" }, promise];
const WORD = ["bufer", "", "toString", "Head", 5, null, true, ["mean"], {}];
const FUNCTION = ["log", 5, null, true, {}, promise];
const SIGNAL = ["abort", 5, null, true, {}, { aborted: false }, new AbortController()];
const ATTENTION = [
  ...["sink", "sinks:4", "sinks:4+0", "window:-1", "window:4+4", "Full", "", 5, null, true, []],
  ...[
    {},
    { kind: "sink", sinks: 4, window: 60 },
    { kind: "window" },
    { kind: "window", window: "6" },
  ],
  ...[{ kind: "full", window: 4 }, { kind: "sinks", window: 60 }, { kind: "toString" }],
  ...[
    { name: "own", sinks: -1, window: 4 },
    { name: "own", sink: 4, window: 4 },
  ],
];
const ROPE = [
  ...["yarn", "yarm:4", "yarn:0.5", "yarn:4:slow=40", "linear:", "auto:4", "", 4, null, []],
  ...[{}, { kind: "yarn" }, { kind: "yarn", factor: "4" }, { kind: "yarn", factor: 4, betaFst: 3 }],
  ...[
    { kind: "none", factor: 4 },
    { kind: "linear", factor: Number.NaN },
  ],
];
const MEMORY = [
  ...["bufer", "turns", "turns:0", "sinks:4", "summary:", "", 5, null, true, []],
  ...[{}, { kind: "bufer" }, { kind: "turns" }, { kind: "turns", turns: "3" }],
  ...[{ kind: "buffer", turns: 3 }, { kind: "summary", turns: 0 }, { recal: 5 }],
];

const GENERATE: Wrong<typeof GENERATE_READERS> = {
  temperature: REAL,
  topK: COUNT,
  topP: [...REAL, 1.01],
  minP: [...REAL, -0.1],
  typicalP: [...REAL, 2],
  repeatPenalty: [...REAL, 0],
  frequencyPenalty: REAL,
  presencePenalty: REAL,
  penaltyLastN: COUNT,
  logitBias: [
    ...[5, "5=1", null, true, [5], [[5]], [["5", 1]], { five: 1 }, { 5: "1" }, { 5: Number.NaN }],
    ...[new Map([[512, 1]]), { 512: 1 }, { 5: 1e10 }, new Map([[-1, 1]]), new Set([5])],
  ],
  seed: COUNT,
  minKeep: COUNT,
  answers: [...COUNT, 0],
  beams: [...COUNT, 0, 17],
  lengthPenalty: [...REAL, 11],
  maxTokens: [...COUNT, 0],
  stop: [5, null, true, { stop: "a" }, ["a", 5], [null], new Set(["a"]), ""],
  ignoreEos: FLAG,
  logprobs: COUNT,
  parseSpecial: FLAG,
  attention: ATTENTION,
  onEvict: FUNCTION,
  cache: FLAG,
  prefixCache: [true, "mine", 5, null, {}],
  onFill: FUNCTION,
  fillLevel: [...REAL, 0, 1.01],
  draft: [
    ...["ngrams", "ngram:0", "ngram:16", "ngram:", "", 5, null, true, [], {}, promise],
    ...[{ kind: "ngrams" }, { tokens: 0, kind: "ngram" }, { kind: "ngram", token: 3 }],
    ...[{ engine: {} }, { tokens: 16, engine }],
  ],
  signal: SIGNAL,
};
const { answers: _a, beams: _b, lengthPenalty: _l, ...single } = GENERATE;
const { parseSpecial: _p, ...chatting } = single;
const { maxTokens: _m, signal: _s, ...sampled } = single;

const ENGINE: Wrong<typeof ENGINE_READERS> = {
  prefixes: FLAG,
  context: [...COUNT, 0],
  attention: ATTENTION,
  whenFull: ["slide", "slide:-1", "stopp", 4, null, true, [], {}, { keep: "4" }, { kep: 4 }],
  rope: ROPE,
  ropeFreqBase: [...REAL, 0],
  ropeFreqScale: [...REAL, 0, 2],
  keys: ["rotate", ...WORD],
  kv: ["q5_0", ...WORD],
  pageSize: [...COUNT, 0],
  chunk: [...COUNT, 0],
  sequences: [...COUNT, 0],
  cacheTokens: [...COUNT, 0],
  maxWaiting: COUNT,
  onProfile: FUNCTION,
  device: ["gpu", 5, null, true, []],
  onStep: FUNCTION,
  onProgress: FUNCTION,
  onWarning: FUNCTION,
};
const DEVICE: Wrong<typeof DEVICE_READERS> = {
  refuse: ["subgroups", 5, null, true, {}, ["subgroup"], [5], [null]],
  limits: ["1GiB", 5, null, [], { maxBufferSize: "1 potato" }, { maxBufferSize: -1 }],
};

const WINDOW: Wrong<typeof WINDOW_READERS> = { size: [...COUNT, 0], overlap: [...COUNT, 16] };
const SUMMARY: Wrong<typeof SUMMARY_READERS> = {
  ...WINDOW,
  budget: [...COUNT, 0],
  fanIn: [...COUNT, 1],
  summarizer: FUNCTION,
  signal: SIGNAL,
  onNode: FUNCTION,
};
const SUMMARIZER: Wrong<typeof SUMMARIZER_READERS> = { ...sampled, prompt: FUNCTION };
const RETRIEVE: Wrong<typeof RETRIEVE_READERS> = { k: [...COUNT, 0], mode: WORD };

/** Wrong values of each option of a table. */
type Wrong<R> = { readonly [K in keyof R]: readonly unknown[] };

interface Case {
  readonly what: string;
  readonly readers: object;
  readonly wrong: Readonly<Record<string, readonly unknown[]>>;
  /** Options that are right and needed. */
  readonly base?: object;
  // biome-ignore lint/suspicious/noExplicitAny: what is wrong has no type
  readonly call: (options: any) => unknown;
}

const user = [{ role: "user", content: "Hello" }] as const;
const summarizer = async () => "short";

function of<R extends object>(
  what: string,
  readers: R,
  wrong: Wrong<R>,
  call: Case["call"],
  base: object = {},
): Case {
  return { what, readers, wrong: wrong as Case["wrong"], call, base };
}

const CASES: readonly Case[] = [
  of("generate", GENERATE_READERS, GENERATE, (o) => engine.generate("Once", o)),
  of("complete", GENERATE_READERS, GENERATE, (o) => engine.complete("Once", o)),
  of(
    "chat",
    CHAT_READERS,
    { ...chatting, template: [5, null, true, {}, "chat-ml"], memory: MEMORY },
    (o) => engine.chat(user, o),
  ),
  of(
    "embed",
    EMBED_READERS,
    { pooling: WORD, layer: [...COUNT, 99], normalize: FLAG, signal: SIGNAL },
    (o) => engine.embed("Once", o),
  ),
  of(
    "attention",
    ATTENTION_READERS,
    { layer: [...COUNT, 99], attention: ATTENTION },
    (o) => engine.attention("Once", o),
    { layer: 0 },
  ),
  of(
    "Engine.summarize",
    ENGINE_SUMMARY_READERS,
    { ...SUMMARIZER, ...SUMMARY },
    (o) => engine.summarize("Once upon a time", o),
    { size: 16, budget: 8 },
  ),
  of("engineSummarizer", SUMMARIZER_READERS, SUMMARIZER, async (o) =>
    dawnstream.engineSummarizer(engine, o)("Once", { maxTokens: 8, level: 1 }),
  ),
  of("Engine.load", ENGINE_READERS, ENGINE, (o) => dawnstream.Engine.load(FILE, o)),
  of("planMemory", ENGINE_READERS, ENGINE, (o) => dawnstream.planMemory(FILE, o)),
  of("largestContext", ENGINE_READERS, ENGINE, (o) => dawnstream.largestContext(FILE, 1, o)),
  of(
    "pullModel",
    PULL_READERS,
    { onProgress: FUNCTION, onWarning: FUNCTION, signal: SIGNAL },
    (o) => dawnstream.pullModel("hf:owner/repo", o),
  ),
  of("device", DEVICE_READERS, DEVICE, (device) => dawnstream.Engine.load(FILE, { device })),
  of(
    "encode",
    ENCODE_READERS,
    { addSpecial: FLAG, parseSpecial: FLAG, continuation: FLAG, guard: TEXT },
    (o) => engine.tokenize("Once", o),
  ),
  of("decode", DECODE_READERS, { special: FLAG, continuation: FLAG }, (o) =>
    engine.detokenize([5], o),
  ),
  of("windows", WINDOW_READERS, WINDOW, (o) => dawnstream.windows("Once", tokenizer, o), {
    size: 16,
  }),
  of(
    "mapWindows",
    MAP_WINDOWS_READERS,
    { combine: FUNCTION, concurrency: [...COUNT, 0], signal: SIGNAL },
    (o) => dawnstream.mapWindows("Once", tokenizer, { size: 16 }, () => 1, o),
  ),
  of(
    "truncate",
    TRUNCATION_READERS,
    {
      budget: [...COUNT, 0],
      reserve: COUNT,
      strategy: ["start", ...WORD],
      marker: TEXT,
      border: ["word", ...WORD],
    },
    (o) => dawnstream.truncate("Once upon a time", tokenizer, o),
    { budget: 8 },
  ),
  of("summarize", SUMMARY_READERS, SUMMARY, (o) => dawnstream.summarize("Once", tokenizer, o), {
    ...{ size: 16, budget: 8, summarizer },
  }),
  of(
    "TextIndex",
    INDEX_READERS,
    { ...WINDOW, pooling: WORD, layer: [...COUNT, 99], whiten: FLAG },
    (o) => new dawnstream.TextIndex(engine, o),
    { size: 16 },
  ),
  of("TextIndex.add", ADD_READERS, { signal: SIGNAL, onWindow: FUNCTION }, (o) =>
    index.add("Once", "story", o),
  ),
  of("TextIndex.retrieve", RETRIEVE_READERS, RETRIEVE, (o) => index.retrieve("ball", o)),
  of(
    "generateWithRetrieval",
    ANSWER_READERS,
    { ...RETRIEVE, budget: [...COUNT, 0], maxTokens: [...COUNT, 0], prompt: FUNCTION },
    (o) => dawnstream.generateWithRetrieval(engine, index, "ball", o),
  ),
  of(
    "a memory's budget",
    BUDGET_READERS,
    { tokens: [...COUNT, 0], count: FUNCTION, signal: SIGNAL },
    (o) => dawnstream.conversationMemory("buffer").recall(user, o),
    { tokens: 100, count: () => 1 },
  ),
  of(
    "a memory that summarises",
    SUMMARIZING_READERS,
    { summarize: FUNCTION, tokenizer: [5, "mine", null, {}] },
    (o) => dawnstream.conversationMemory("summary", o),
    { summarize: summarizer, tokenizer },
  ),
  of("ChatTemplate", TOKEN_READERS, { bos: TEXT, eos: TEXT }, (o) =>
    new dawnstream.ChatTemplate("{{ bos_token }}", o).render(user),
  ),
  of("render", RENDER_READERS, { addGenerationPrompt: FLAG }, (o) =>
    new dawnstream.ChatTemplate("{{ messages }}").render(user, o),
  ),
  of("chatPrompt", RENDER_READERS, { addGenerationPrompt: FLAG }, (o) =>
    dawnstream.chatPrompt(tokenizer, new dawnstream.ChatTemplate("a"), user, o),
  ),
];

const isGenerator = (value: unknown): value is AsyncGenerator =>
  typeof value === "object" && value !== null && Symbol.asyncIterator in value;

/** What a call throws: at once, by its promise, or at the first `next()`. */
async function failureOf(call: () => unknown): Promise<unknown> {
  try {
    const value = call();
    await (isGenerator(value) ? value.next() : value);
  } catch (error) {
    return error;
  }
  return undefined;
}

/** How the values in a wrong value are quoted. */
function quotesOf(value: unknown): string[] {
  if (typeof value === "string") return [JSON.stringify(value)];
  if (typeof value === "bigint") return [`${value}n`];
  if (typeof value === "function") return ["function"];
  if (typeof value !== "object" || value === null) return [String(value)];
  if (Array.isArray(value)) return value.flatMap(quotesOf);
  if (value.constructor !== Object) return [];
  return Object.keys(value).slice(0, 1);
}

async function expectRefusal(call: () => unknown, what: string, shown: readonly string[]) {
  const error = await failureOf(call);
  expect(error, what).toBeInstanceOf(UserError);
  const { message } = error as UserError;
  expect(message, what).not.toMatch(/[\n\r]/);
  const isShown = shown.length === 0 || shown.some((part) => message.includes(part));
  expect(isShown, `${what}: ${message}`).toBe(true);
}

describe.each(CASES)("$what", ({ what, readers, wrong, call, base }) => {
  test("has wrong values for every option", () => {
    expect(Object.keys(wrong).sort()).toEqual(Object.keys(readers).sort());
  });

  test.each(Object.entries(wrong))("%s", async (option, values) => {
    for (const value of values) {
      const options = { ...base, [option]: value };
      await expectRefusal(() => call(options), `${what}: ${option}`, quotesOf(value));
    }
  });

  test("an unknown name, with the one that was meant", async () => {
    for (const option of Object.keys(readers)) {
      const misspelt = `${option}x`;
      const attempt = () => call({ ...base, [misspelt]: 1 });
      await expectRefusal(attempt, misspelt, [`"${misspelt}"`]);
      const { message } = (await failureOf(attempt)) as Error;
      if (what !== "generateWithRetrieval") expect(message).toContain(`did you mean ${option}?`);
    }
  });

  test("options that are no object", async () => {
    for (const options of [5, "text", null, true, [], new Map(), () => 1, promise]) {
      await expectRefusal(() => call(options), what, quotesOf(options));
    }
  });
});

// biome-ignore lint/suspicious/noExplicitAny: what is wrong has no type
const wrongly = (value: unknown): any => value;
const MESSAGES = [
  ...[5, "Hello", null, {}, promise, ["Hello"], [null], [{}], [{ role: "user" }]],
  ...[[{ role: "user", content: 5 }], [{ role: "usr", content: "a" }], [{ content: "a" }]],
];
const PROMPT = [5, null, undefined, true, {}, promise, ["5"], [Number.NaN], [512], [null], [-1]];
const NO_TEXT = [...TEXT, undefined];
const NO_DOCUMENT = [5, null, undefined, true, {}, promise, [5], [null]];

/** A step of one token, but for what is given. */
const run = (rows: object) =>
  engine.run({ sequence: engine.sequence(), tokens: [5], wanted: { kind: "nothing" }, ...rows });

/** What is not given as options, by the names of `src/index.ts` and of the engine's methods. */

const VALUES: readonly [string, readonly unknown[], (value: never) => unknown][] = [
  ["generate", PROMPT, (value) => engine.generate(value)],
  ["complete", PROMPT, (value) => engine.complete(value)],
  ["embed", PROMPT, (value) => engine.embed(value)],
  ["attention", PROMPT, (value) => engine.attention(value, { layer: 0 })],
  ["score", [...PROMPT, "Once"], (value) => engine.score(value)],
  ["score: onRow", FUNCTION, (value) => engine.score([5, 6], value)],
  ["chat", MESSAGES, (value) => engine.chat(value)],
  ["run", [5, null, {}, "a"], (value) => engine.run(value)],
  ["run: sequence", [5, null, {}], (sequence) => run({ sequence })],
  ["run: tokens", [5, null, true, {}, "Once", [], [1.5], [512], [-1]], (tokens) => run({ tokens })],
  [
    "run: wanted",
    [5, null, {}, { kind: "logit" }, { kind: "logits" }, "logits"],
    (wanted) => run({ wanted }),
  ],
  ["tokenize", NO_TEXT, (value) => engine.tokenize(value)],
  [
    "detokenize",
    [5, null, true, {}, promise, "a", ["5"], [512]],
    (value) => engine.detokenize(value),
  ],
  ["tokenizer.encoder", NO_TEXT, (value) => tokenizer.encoder().push(value)],
  ["tokenizer.decoder", ["5", null, 1.5], (value) => tokenizer.decoder().push(value)],
  ["promptFor", NO_TEXT, (value) => engine.promptFor(value)],
  ["Engine.summarize", NO_DOCUMENT, (value) => engine.summarize(value, { budget: 8 })],
  ["Engine", NO_TEXT, (value) => dawnstream.Engine.load(value)],
  ["pullModel", [...NO_TEXT, "model.gguf", "hf:owner"], (value) => dawnstream.pullModel(value)],
  ["loadTokenizer", NO_TEXT, (value) => dawnstream.loadTokenizer(value)],
  ["planMemory", NO_TEXT, (value) => dawnstream.planMemory(value)],
  ["largestContext", NO_TEXT, (value) => dawnstream.largestContext(value, 1)],
  [
    "largestContext: bytes",
    ["1 potato", "", -1, Number.NaN, null, true, {}, "toString"],
    (value) => dawnstream.largestContext(FILE, value),
  ],
  ["streamText", NO_TEXT, (value) => dawnstream.streamText(value)],
  ["parseAttention", ATTENTION, (value) => dawnstream.parseAttention(value)],
  ["parseRope", ROPE, (value) => dawnstream.parseRope(value)],
  ["parseMemory", MEMORY, (value) => dawnstream.parseMemory(value)],
  ["conversationMemory", MEMORY, (value) => dawnstream.conversationMemory(value)],
  ["readConversation", NO_TEXT, (value) => dawnstream.readConversation(value)],
  ["writeConversation", MESSAGES, (value) => dawnstream.writeConversation(value)],
  ["windows", NO_DOCUMENT, (value) => dawnstream.windows(value, tokenizer, { size: 16 })],
  ["windows: tokenizer", [5, null, {}], (v) => dawnstream.windows("a", v, { size: 16 })],
  ["mapWindows", FUNCTION, (v) => dawnstream.mapWindows("a", tokenizer, { size: 16 }, v)],
  ["truncate", NO_TEXT, (value) => dawnstream.truncate(value, tokenizer, { budget: 8 })],
  ["truncate: tokenizer", [5, null, {}], (v) => dawnstream.truncate("a", v, { budget: 8 })],
  [
    "summarize",
    NO_DOCUMENT,
    (value) => dawnstream.summarize(value, tokenizer, { size: 16, budget: 8, summarizer }),
  ],
  ["engineSummarizer", [5, null, {}], (value) => dawnstream.engineSummarizer(value)],
  ["instructionBehind", [5, null, {}], (value) => dawnstream.instructionBehind(value)],
  ["TextIndex", [5, null, {}], (value) => new dawnstream.TextIndex(value)],
  ["TextIndex.load", [5, null, "a"], (value) => dawnstream.TextIndex.load(value, engine)],
  ["TextIndex.add", NO_TEXT, (value) => index.add(value, "story")],
  ["TextIndex.add: source", NO_TEXT, (value) => index.add("Once", value)],
  ["TextIndex.retrieve", NO_TEXT, (value) => index.retrieve(value)],
  ["TextIndex.scores", WORD, (value) => index.scores("ball", value)],
  ["decodeIndex", [5, null, "a", {}], (value) => dawnstream.decodeIndex(value)],
  [
    "generateWithRetrieval",
    NO_TEXT,
    (value) => dawnstream.generateWithRetrieval(engine, index, value),
  ],
  [
    "generateWithRetrieval: index",
    [5, null, {}],
    (value) => dawnstream.generateWithRetrieval(engine, value, "ball"),
  ],
  ["ChatTemplate", NO_TEXT, (value) => new dawnstream.ChatTemplate(value)],
  ["chatTemplateOf", TEXT, (value) => dawnstream.chatTemplateOf(tokenizer.vocabulary, value)],
  [
    "chatPrompt",
    MESSAGES,
    (v) => dawnstream.chatPrompt(tokenizer, new dawnstream.ChatTemplate("a"), v),
  ],
  ["chatPrompt: template", [5, "a", null], (v) => dawnstream.chatPrompt(tokenizer, v, user)],
];

test.each(VALUES)("%s: a wrong value by itself", async (what, values, call) => {
  for (const value of values) {
    const shown = value === undefined ? [] : Array.isArray(value) ? [] : quotesOf(value);
    await expectRefusal(() => call(value as never), what, shown);
  }
});

test("every public function has its wrong values", () => {
  const given = new Set([...CASES.map(({ what }) => what), ...VALUES.map(([what]) => what)]);
  // A pure rule over what has been read, and one of texts that the caller makes.
  const others = ["isVisible", "plainPrompt"];
  const functions = Object.entries(dawnstream)
    .filter(([name, value]) => !name.endsWith("Error") && typeof value !== "string")
    .map(([name]) => name);
  expect(functions.filter((name) => !given.has(name) && !others.includes(name))).toEqual([]);
});

test("a misspelt word is answered with those that there are", async () => {
  const refused = (call: () => unknown) => failureOf(call).then((error) => String(error));
  expect(await refused(() => engine.generate("a", wrongly({ maxToken: 5 })))).toMatch(
    /^UserError: Unknown option "maxToken" of generate: did you mean maxTokens\? There are .*stop/,
  );
  expect(await refused(() => engine.complete("a", wrongly({ maxTokens: "200" })))).toBe(
    'UserError: Invalid maxTokens "200": expected a whole number from 1 to 1099511627776.',
  );
  expect(await refused(() => dawnstream.conversationMemory(wrongly({ kind: "bufer" })))).toMatch(
    /^UserError: Invalid memory { kind: "bufer" }: expected turns:K, buffer, summary/,
  );
  for (const [call, meant] of [
    [() => resolveSetting(engine.config, wrongly({ kv: "q8" })), "q8_0"],
    [() => resolveSetting(engine.config, wrongly({ kv: "q" })), "q8_0 or q4_0"],
    [() => resolveSetting(engine.config, wrongly({ keys: "Raw" })), "raw"],
    [() => resolveSetting(engine.config, wrongly({ attention: "sink:4+60" })), "sinks"],
    [() => resolveSetting(engine.config, wrongly({ attention: { kind: "windw" } })), "window"],
    [() => resolveSetting(engine.config, wrongly({ rope: "yarm:4" })), "yarn"],
    [() => resolveSetting(engine.config, wrongly({ whenFull: "slid:4" })), "slide"],
    [() => dawnstream.conversationMemory(wrongly({ kind: "bufer" })), "buffer"],
    [() => engine.embed("a", wrongly({ pooling: "meen" })), "mean"],
    [() => engine.chat(user, wrongly({ template: "chat-ml" })).next(), "chatml"],
    [() => engine.chat(wrongly([{ role: "usr", content: "a" }])), "user"],
    [() => dawnstream.truncate("a", tokenizer, wrongly({ budget: 8, strategy: "mid" })), "middle"],
    [
      () => dawnstream.Engine.load(FILE, wrongly({ device: { refuse: ["subgroup"] } })),
      "subgroups",
    ],
  ] as const) {
    const line = await refused(call);
    expect(line.slice(line.lastIndexOf("; "))).toBe(`; did you mean ${meant}?`);
  }
  // Megabytes, as a request or a file may hold, are not compared with the words letter by letter.
  const long = "a".repeat(2 ** 23);
  expect(await refused(() => resolveSetting(engine.config, wrongly({ [long]: 1 })))).toContain("…");
  expect(await refused(() => resolveSetting(engine.config, wrongly({ kv: long })))).toContain("…");
  // Right words with wrong details, and words that are far from all.
  for (const attention of ["window:0", "sinks:4", "sometimes"]) {
    const line = await refused(() => resolveSetting(engine.config, wrongly({ attention })));
    expect(line).not.toContain("did you mean");
  }
  expect(await refused(() => engine.generate(wrongly(promise)))).toMatch(/await it first/);
});
