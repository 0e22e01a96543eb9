// Texts that a user gives: as an argument, in a file, by a pipe, to every command alike; and files that say what cannot be.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ROOT } from "../support/build.ts";
import { dawnstream, fail, json, succeed, temporaryFolder } from "../support/cli.ts";
import { fixtureModel } from "../support/models.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const small = ["--model", fixtureModel("stories260K-Q8_0.gguf")];

const STORY = readFileSync(join(ROOT, "test/fixtures/text/stories.txt"), "utf8").slice(0, 900);
writeFileSync(at("story.txt"), STORY);
writeFileSync(at("prompt.txt"), "Once upon a time\n");
writeFileSync(at("talk.json"), '[{"role":"user","content":"Hello"}]');

const greedy = ["--temperature", "0", "--max-tokens", "3", "--json"];
const scores = ["--methods", "none", "--lengths", "32", "--trials", "0", "--keep", at("cells")];

/** Commands that take a text, the file that holds it, and what belongs to the run rather than to the text. */
const COMMANDS: [name: string, file: string, flags: string[], volatile: RegExp][] = [
  ["perplexity", "story.txt", ["--context", "64", "--chunks", "2"], /^$/],
  ["summarize", "story.txt", ["--budget", "12", "--context", "256"], /^$/],
  [
    "memory",
    "talk.json",
    ["--strategy", "turns:1", "--budget", "60", "--template", "chatml"],
    /^$/,
  ],
  [
    "stream",
    "story.txt",
    ["--tokens", "40", "--parts", "2", "--policies", "window:16"],
    /[\d.]+ /g,
  ],
  ["rope", "story.txt", scores, /^$/],
];

describe.each(COMMANDS)("%s", (name, file, flags, volatile) => {
  test("a text is FILE, --file FILE, - or a pipe", async () => {
    const run = async (words: string[], input = "") =>
      (await succeed([name, ...words, ...flags, ...small], { input })).text
        .replaceAll(at(file), "stdin")
        .replace(volatile, "");
    const text = readFileSync(at(file), "utf8");
    const asArgument = await run([at(file)]);
    expect(asArgument).not.toBe("");
    expect(await run(["--file", at(file)])).toBe(asArgument);
    if (name === "memory") expect(await run(["-"], text)).toBe(asArgument);
    expect(await run([], text)).toBe(asArgument);
    await fail([name, at(file), "--file", at(file), ...flags, ...small], /Two texts/);
    await fail([name, ...flags, ...small], /No text: give FILE, --file FILE, or a text by a pipe/);
  });
});

test("index: files are arguments, in --file, or a pipe", async () => {
  const sources = async (words: string[], input = "") => {
    await succeed(["index", ...words, "--out", at("index"), ...small], { input });
    const args = ["ask", "a girl", "--index", at("index"), "--sources-only", "--json", ...small];
    return (await json<{ sources: { source: string }[] }>(args)).sources.map(
      ({ source }) => source,
    );
  };
  expect(new Set(await sources([at("story.txt")]))).toEqual(new Set([at("story.txt")]));
  const both = await sources([at("story.txt"), "--file", at("prompt.txt")]);
  expect(new Set(both)).toEqual(new Set([at("story.txt"), at("prompt.txt")]));
  expect(new Set(await sources([], STORY))).toEqual(new Set(["stdin"]));
  await fail(["index", "--out", at("index"), ...small], /No text/);
});

test("generate: a prompt from a file or a pipe has no last line break, and keeps the one before", async () => {
  const of = (words: string[], input = "") =>
    json<{ tokens: number[]; usage: { promptTokens: number } }>(
      ["generate", ...words, ...greedy, ...small],
      { input },
    );
  const wanted = await of(["Once upon a time"]);
  for (const input of ["Once upon a time", "Once upon a time\n", "Once upon a time\r\n"]) {
    expect((await of(["-"], input)).tokens).toEqual(wanted.tokens);
  }
  expect((await of([], "Once upon a time\n")).tokens).toEqual(wanted.tokens);
  const fromFile = await of(["--file", at("prompt.txt")]);
  expect(fromFile.usage.promptTokens).toBe(wanted.usage.promptTokens);
  const two = await of(["-"], "Once upon a time\n\n");
  expect(two.usage.promptTokens).toBeGreaterThan(wanted.usage.promptTokens);
  // What was typed is kept as it is.
  const typed = await of(["Once upon a time\n"]);
  expect(typed.usage.promptTokens).toBe(two.usage.promptTokens);
});

test("tokenize and attention: a pipe is the text, to the byte", async () => {
  const ids = await json<number[]>(["tokenize", "Hi\n", "--json", ...small]);
  expect(await json(["tokenize", "--json", ...small], { input: "Hi\n" })).toEqual(ids);
  const { tokens } = await json<{ tokens: number[] }>(["attention", "--json", ...small], {
    input: "Hi\n",
  });
  expect(tokens).toEqual(ids);
});

test("perplexity: stdout has the result alone, stderr how far it is", async () => {
  const args = ["perplexity", at("story.txt"), "--context", "64", "--chunks", "2", ...small];
  const { text, stderr } = await dawnstream(args);
  expect(text).toMatch(/^perplexity [\d.]+ over \d+ tokens\n$/);
  expect(stderr).toContainEqual(expect.stringMatching(/^\[chunk 1 of 2: perplexity so far/));
  await fail(["perplexity", "--tokens", at("none.json"), "--chunks", "1"], /--chunks/);
});

test.each([
  ["null", /no JSON object/],
  ["[1]", /no JSON object/],
  ["{", /not JSON/],
  ['{"statement": 5}', /Invalid statement 5/],
  ['{"statement": "The number is 7."}', /has no place for the number/],
  ['{"question": ["a"]}', /Invalid question \["a"\]/],
  ['{"filler": {}}', /Invalid filler \{\}/],
  ['{"filler": " "}', /Invalid filler " "/],
  ['{"digits": "4"}', /Invalid digits "4".*from 1 to 15/],
  ['{"digits": 2.5}', /Invalid digits 2\.5/],
  ['{"digits": 400}', /Invalid digits 400/],
  ['{"fillers": "a"}', /Unknown key "fillers"/],
])("rope: the task %s is refused in one line", async (task, message) => {
  writeFileSync(at("task.json"), task);
  await fail(["rope", at("story.txt"), "--task", at("task.json"), ...scores, ...small], message);
});

test("inspect: a model whose tokenizer is unknown cannot be run", async () => {
  const path = at("unknown.gguf");
  const bytes = readFileSync(fixtureModel("stories260K-Q8_0.gguf"));
  const key = Buffer.from("tokenizer.ggml.model");
  const where = bytes.indexOf(key) + key.length + 4 + 8; // behind the key: a type and a length
  expect(bytes.toString("latin1", where, where + 5)).toBe("llama");
  bytes.write("llamb", where, "latin1");
  writeFileSync(path, bytes);
  const { stderr } = await dawnstream(["generate", "Hi", "--model", path]);
  const why = stderr[0]!.replace(/^error: /, "");
  const report = await json<{ refused: string; memory?: object }>(["inspect", path, "--json"]);
  expect(report.memory).toBeUndefined();
  expect(why).toBe(report.refused);
  expect((await dawnstream(["inspect", path])).text).toContain(`cannot be run: ${why}`);
});

test("short flags are the long ones, and DAWNSTREAM_MODEL is the model unless --model is given", async () => {
  const long = ["--max-tokens", "2", "--seed", "5", "--context", "64", "--file", at("prompt.txt")];
  const short = ["-n", "2", "-s", "5", "-c", "64", "-f", at("prompt.txt")];
  interface Answer {
    tokens: number[];
    seed: number;
    usage: { context: number };
  }
  const wanted = await json<Answer>(["generate", ...long, ...small, "--json"]);
  const found = await json<Answer>(["generate", ...short, "-m", small[1]!, "--json"]);
  expect(found.tokens).toEqual(wanted.tokens);
  expect([found.seed, found.tokens.length]).toEqual([5, 2]);
  expect(found.usage).toEqual(wanted.usage);
  const ids = await json(["tokenize", "Hello", "--json", ...small]);
  const env = { DAWNSTREAM_MODEL: small[1]! };
  expect(await json(["tokenize", "Hello", "--json"], { env })).toEqual(ids);
  const empty = await json<number[]>(["tokenize", "Once", "--json"], {
    env: { DAWNSTREAM_MODEL: "" },
  });
  expect(empty).toEqual(await json<number[]>(["tokenize", "Once", "--json"]));
  const none = { env: { DAWNSTREAM_MODEL: at("none.gguf") } };
  await fail(["tokenize", "Hello"], /none\.gguf: no such file/, none);
  expect(await json(["tokenize", "Hello", "--json", ...small], none)).toEqual(ids);
  expect((await dawnstream(["inspect", small[1]!], none)).status).toBe(0);
});
