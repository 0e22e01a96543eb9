// dawnstream chat: a conversation of lines, its commands, what a turn computes, Ctrl-C; a mistake is one line.

import { spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadTokenizer, type Message, SHIPPED_MODEL } from "../../src/index.ts";
import { dawnstream, fail, MAIN, temporaryFolder } from "../support/cli.ts";

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

/** util-linux's, which gives a command a terminal. */
const hasScript = spawnSync("script", ["--version"]).stdout?.includes("util-linux") ?? false;
if (!hasScript) console.error("SKIPPED: chat in a terminal, for want of util-linux's script");

test.skipIf(!hasScript)("in a terminal Ctrl-C stops the answer and not the program", async () => {
  const { output, status } = await typeInTerminal(endless, [
    ["> ", "Once upon a time\r"],
    ["\n.{20}", "\x03"], // an answer in work
    ["aborted\\].*> ", "half a mess\x03"],
    ["mess.*> ", "\x03"],
    ["/exit or Ctrl-D leaves.*> ", "/usage\r"],
    ["1 turns: .*> ", "/exit\r"],
  ]);
  expect(output).toMatch(/last turn: prompt 7 tokens, 0 of them in the cache, answer \d+/);
  expect(status).toBe(0);
});

test.skipIf(!hasScript)(
  "in a terminal Ctrl-D in an answer ends the program behind it",
  async () => {
    const { status } = await typeInTerminal(short, [["> ", "Once upon a time\r\x04"]]);
    expect(status).toBe(0);
  },
);

/** Runs the command in a terminal and types when the screen shows what it waits for. */
function typeInTerminal(args: readonly string[], dialogue: readonly (readonly [string, string])[]) {
  const command = [process.execPath, MAIN, ...args].map((word) => `'${word}'`).join(" ");
  const child = spawn("script", ["-qefc", command, "/dev/null"]);
  return new Promise<{ output: string; status: number | null }>((resolve, reject) => {
    const left = [...dialogue];
    let [output, seen] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      seen += text;
      const [shown, typed] = left[0] ?? [];
      if (shown === undefined || !new RegExp(shown, "s").test(seen)) return;
      left.shift();
      seen = "";
      child.stdin.write(typed!);
    });
    child.on("error", reject);
    child.on("close", (status) => resolve({ output, status }));
  });
}

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
    [["--template", "plain"], /There is no command \/nope: expected \/usage, /, "/nope\n"],
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
