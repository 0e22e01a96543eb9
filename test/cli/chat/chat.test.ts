// dawnstream chat: a conversation of lines, its commands, what a turn computes, Ctrl-C; a mistake is one line.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadTokenizer, type Message, SHIPPED_MODEL } from "../../../src/index.ts";
import { dawnstream, fail, temporaryFolder } from "../../support/cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const tokenizer = await loadTokenizer(SHIPPED_MODEL);
const short = ["chat", "--max-tokens", "12", "--temperature", "0", "--template", "plain"];

test("a turn tells what it has computed, and what it has found in the cache", async () => {
  const input = "Once upon a time\n/usage\nThe dog ran.\n/usage\n";
  const { status, text, stderr } = await dawnstream(short, { input });
  expect(status).toBe(0);
  const answers = text.split("\n");
  const prompt = tokenizer.encode("Once upon a time\n\n").length;
  const [first, last, , second] = stderr;
  expect(first).toMatch(new RegExp(`^\\[prompt ${prompt} tokens in .*\\| 12 tokens, .* free \\|`));
  expect(last).toBe(
    `last turn: prompt ${prompt} tokens, 0 of them in the cache, answer 12, ${512 - prompt - 12} free`,
  );
  // All that was read and said but the last token, which was chosen and has not been read.
  expect(second).toMatch(new RegExp(`^\\[prompt \\d+ tokens \\(${prompt + 11} cached\\)`));
  expect(stderr.at(-1)).toMatch(
    /^2 turns: prompts \d+ tokens, \d+ of them in the cache, answers 24$/,
  );
  expect(answers[0]!.length).toBeGreaterThan(5);
});

test("a conversation is saved, loaded, remembered in part, and begun anew", async () => {
  const path = at("talk.json");
  const first = await dawnstream([...short, "--system", "Be kind."], {
    input: `Once upon a time\n/save ${path}\n`,
  });
  expect(first.stderr.at(-1)).toBe(`3 messages in ${path}`);
  const saved = JSON.parse(readFileSync(path, "utf8")) as Message[];
  expect(saved).toEqual([
    { role: "system", content: "Be kind." },
    { role: "user", content: "Once upon a time" },
    { role: "assistant", content: first.text.slice(0, -1) },
  ]);

  const input = `/memory turns:1\nThe dog ran.\n/context\n/reset\n/context\n/load ${path}\n/memory\n`;
  const { status, stderr } = await dawnstream([...short, "--load", path], { input });
  expect(status).toBe(0);
  expect(stderr[0]).toBe("memory turns:1");
  // As the next question will find it: with one turn, which is its own, all others are gone.
  expect(stderr.filter((line) => / (kept|dropped)$/.test(line))).toEqual([
    expect.stringMatching(/^1 system: Be kind\. +\d+ +kept$/),
    expect.stringMatching(/^2 user: Once upon a time +\d+ +dropped$/),
    expect.stringMatching(/^3 assistant: .* +\d+ +dropped$/),
    expect.stringMatching(/^4 user: The dog ran\. +\d+ +dropped$/),
    expect.stringMatching(/^5 assistant: .* +\d+ +dropped$/),
    // After /reset, what was loaded at the beginning.
    expect.stringMatching(/^1 system: .* +kept$/),
    expect.stringMatching(/^2 user: .* +dropped$/),
    expect.stringMatching(/^3 assistant: .* +dropped$/),
  ]);
  expect(stderr).toContain("A new conversation.");
  expect(stderr.slice(-2)).toEqual(["3 messages", "memory turns:1"]);
});

const endless = [
  ...["chat", "--memory", "sinks:4+60", "--max-tokens", "1000000", "--template", "plain"],
  ...["--logit-bias", "2=-inf"],
];

test("Ctrl-C ends a conversation of lines: the answer, and what was still to be said", async () => {
  const { status, text, stderr } = await dawnstream(endless, {
    input: "Once upon a time\nAnd then?\n/usage\n",
    onOutput: (child) => void setTimeout(() => child.kill("SIGINT"), 300),
  });
  expect(status).toBe(130);
  expect(stderr).toEqual([expect.stringMatching(/^\[prompt 7 tokens .*\| aborted\]$/)]);
  expect(text.endsWith("\n")).toBe(true);
});

test("messages of several lines come by quotes and backslashes from a pipe, too", async () => {
  const input = '"""\nOnce upon\n\n a time\n"""\nThe dog \\\nran.\n/reset\n"""The end."""\n';
  const { status, stderr } = await dawnstream(short, { input });
  expect(status).toBe(0);
  const prompt = (message: string) => tokenizer.encode(`${message}\n\n`).length;
  expect(stderr[0]).toMatch(new RegExp(`^\\[prompt ${prompt("Once upon\n\n a time")} tokens in`));
  expect(stderr[3]).toMatch(new RegExp(`^\\[prompt ${prompt("The end.")} tokens`));
  expect(stderr).toHaveLength(4);
});

test("/set changes how answers are made as the flags do, and lists it", async () => {
  const flags = ["chat", "--max-tokens", "12", "--template", "plain"];
  const ask = "Once upon a time\n";
  const drawn = await dawnstream(
    [...flags, "--temperature", "1.5", "--seed", "7", "--top-k", "0"],
    {
      input: ask,
    },
  );
  const greedy = await dawnstream(short, { input: ask });
  const sets = "/set temperature 1.5\n/set --seed 7\n/set topK 0\n";
  const input = `${sets}${ask}/reset\n/set temperature 0\n${ask}/set seed default\n/set\n`;
  const { status, text, stderr } = await dawnstream(flags, { input });
  expect(status).toBe(0);
  expect(text).toBe(drawn.text + greedy.text);
  expect(drawn.text).not.toBe(greedy.text);
  const listed = Object.fromEntries(stderr.slice(-13).map((line) => line.split(/ +/)));
  expect(listed).toEqual({
    ...{ temperature: "0", "top-k": "0", "top-p": "0.95", "min-p": "0.05", "typical-p": "1" },
    ...{ "repeat-penalty": "1", "frequency-penalty": "0", "presence-penalty": "0" },
    ...{ "penalty-last-n": "64", "logit-bias": "none", seed: "random" },
    ...{ "max-tokens": "12", stop: "none" },
  });
});

test("/set takes what a flag takes several times, and gives it up for the default", async () => {
  const input =
    "/set stop a\n/set stop b c\n/set logit-bias 5=-inf\n/set logit_bias 6=1.5\n/set max-tokens 3\n" +
    "Once upon a time\n/set stop default\n/set max-tokens default\n/set logit-bias\n";
  const { stderr } = await dawnstream(short, { input });
  const words = stderr.map((line) => line.replaceAll(/ +/g, " "));
  expect(words.filter((line) => !line.startsWith("["))).toEqual([
    ...['stop "a"', 'stop "a", "b c"', "logit-bias 5=-inf", "logit-bias 5=-inf, 6=1.5"],
    ...["max-tokens 3", "stop none", "max-tokens 256", "logit-bias 5=-inf, 6=1.5"],
  ]);
  expect(stderr.find((line) => line.startsWith("["))).toMatch(/\| [123] tokens, /);
});

test("/system tells what the model is told, changes it and takes it out", async () => {
  const path = at("told.json");
  const input = `/system\nHello\n/system Be brief.\n/save ${path}\n/reset\n/system\n/system ""\n`;
  const { stderr } = await dawnstream([...short, "--system", "Be kind."], { input });
  const said = stderr.filter((line) => !line.startsWith("["));
  expect(said).toEqual([
    ...["Be kind.", "Be brief.", `3 messages in ${path}`, "A new conversation.", "Be brief."],
    "The model is told nothing before the conversation.",
  ]);
  const saved = JSON.parse(readFileSync(path, "utf8")) as Message[];
  expect(saved.slice(0, 2)).toEqual([
    { role: "system", content: "Be brief." },
    { role: "user", content: "Hello" },
  ]);
});

test.each(["/bye", "/exit"])("%s ends a conversation", async (word) => {
  const { status, text, stderr } = await dawnstream(short, { input: `${word}\nHello\n` });
  expect({ status, text, stderr }).toEqual({ status: 0, text: "", stderr: [] });
});

test("a template comes by name or as a file, and the file's lack of one is told", async () => {
  writeFileSync(
    at("shout.jinja"),
    "{% for m in messages %}{{ m.content | upper }}!{% endfor %}{{ ' And' if add_generation_prompt }}",
  );
  const ask = ["chat", "--max-tokens", "2", "--temperature", "0"];
  const lengths: Record<string, number> = {
    [at("shout.jinja")]: tokenizer.encode("HELLO! And").length,
    zephyr: tokenizer.encode("<|user|>\nHello</s>\n<|assistant|>\n", { parseSpecial: true }).length,
  };
  for (const [template, length] of Object.entries(lengths)) {
    const { stderr } = await dawnstream([...ask, "--template", template], { input: "Hello\n" });
    expect(stderr[0]).toMatch(new RegExp(`^\\[prompt ${length} tokens`));
  }
  const { stderr } = await dawnstream(ask, { input: "" });
  expect(stderr).toEqual([expect.stringMatching(/^warning: The file has no chat template: /)]);
});

describe("a mistake is one line", () => {
  const bad: [string[], RegExp, string?][] = [
    [["--template", "nobody"], /no chat template "nobody": expected one of llama2, /],
    [["--memory", "all"], /Invalid --memory "all": expected turns:K, buffer/],
    [["--load", at("none.json")], /Cannot read .*none\.json: no such file/],
    [["--temperature", "-1"], /temperature/],
    [["--max-tokens", "512"], /and 512 to generate exceed the context of 512/],
    [["--max-tokens", "510"], /An answer of 510 tokens leaves no room .* in the 512/, "Hello\n"],
    [["--template", "plain"], /There is no command \/nope: there are \/usage, /, "/nope\n"],
    [["--template", "plain"], /no command \/hlep: did you mean \/help\? There are /, "/hlep\n"],
    [["--template", "plain"], /no option "topk": did you mean top-k\? There are /, "/set topk 4\n"],
    [["--template", "plain"], /Invalid top-p 2: expected a number from 0 to 1\./, "/set top-p 2\n"],
    [["--template", "plain"], /and 512 to generate exceed the context/, "/set max-tokens 512\n"],
    [["--template", "plain"], /The input ends within a message: close it with """\./, '"""One\n'],
    [["--template", "plain"], /\/save needs the name of a file/, "/save\n"],
    [["--template", "plain"], /\/reset takes nothing after it/, "/reset now\n"],
    [["--template", "plain"], /Cannot read nowhere\.json: no such file/, "/load nowhere.json\n"],
  ];
  test.each(bad)("%j", async (flags, message, input = "") => {
    const template = flags.includes("--template") ? [] : ["--template", "plain"];
    await fail(["chat", ...template, ...flags], message, { input });
  });

  test("a conversation that the template refuses", async () => {
    const twice = [
      { role: "user", content: "One." },
      { role: "user", content: "Two." },
    ];
    writeFileSync(at("twice.json"), JSON.stringify(twice));
    const args = ["chat", "--template", "llama2", "--load", at("twice.json")];
    await fail(args, /The chat template refuses this conversation: .*alternate/, { input: "Hi\n" });
  });
});
