// `dawnstream summarize`, as it is built.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type { SummaryNode } from "../../src/context/text/summaries.ts";
import { dawnstream, fail, json, succeed, temporaryFolder } from "../support/cli.ts";
import { fixtureModel } from "../support/models.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const stories = fileURLToPath(new URL("../fixtures/text/stories.txt", import.meta.url));
const small = ["--model", fixtureModel("stories260K-F32.gguf")];
const text = "Tom had a red ball. He liked to play with it. One day it was gone. ".repeat(20);
writeFileSync(at("text.txt"), text);
writeFileSync(at("empty.txt"), "");

interface Report {
  readonly summary: string;
  readonly tokens: number;
  readonly documentTokens: number;
  readonly window: number;
  readonly nodes: readonly number[];
  readonly tree: SummaryNode;
}

test("the summary goes to stdout, from a file or from stdin; --tree and --json show what it was made from", async () => {
  const args = [...small, "--context", "256", "--budget", "20", "--overlap", "16"];
  const plain = await succeed(["summarize", at("text.txt"), ...args]);
  expect(plain.stderr).toEqual([expect.stringMatching(/^\[load .* \d windows, \d+ summaries in /)]);
  const report = await json<Report>(["summarize", "-", ...args, "--json"], { input: text });
  expect(plain.text).toBe(`${report.summary}\n`);
  expect(report.tokens).toBeLessThanOrEqual(20);
  expect(report.nodes.at(-1)).toBe(1);
  expect(report.tree).toMatchObject({ text: report.summary, start: 0, end: report.documentTokens });

  const { text: tree } = await succeed(["summarize", at("text.txt"), ...args, "--tree"]);
  const lines = tree.trimEnd().split("\n");
  expect(lines[0]).toBe(
    `level ${report.tree.level}, tokens 0 to ${report.documentTokens}, in ${report.tokens}: ${JSON.stringify(report.summary)}`,
  );
  expect(lines.filter((line) => /^ +window, tokens /.test(line)).length).toBe(report.nodes[0]);
  const other = await json<Report>([
    ...["summarize", at("text.txt"), ...args, "--json"],
    ...["--window", "100", "--fan-in", "2", "--instruction", "Once upon a time"],
  ]);
  expect(other.window).toBe(100);
  expect(other.nodes[0]).toBe(Math.ceil((other.documentTokens - 16) / (100 - 16)));
  expect(other.summary).not.toBe(report.summary);
});

test("Ctrl-C leaves nothing on stdout, and ends with status 130", async () => {
  // It writes nothing before the end that would tell that it is at work: by then it is, and for minutes to come.
  writeFileSync(at("long.txt"), readFileSync(stories, "utf8").repeat(20));
  const args = ["summarize", at("long.txt"), ...small, "--budget", "60", "--context", "256"];
  const run = await dawnstream(args, {
    onStart: (child) => void setTimeout(() => child.kill("SIGINT"), 5000),
  });
  expect(run.status).toBe(130);
  expect(run.text).toBe("");
  expect(run.stderr).toEqual([
    expect.stringMatching(/^\[load .* windows, .* summaries in .*\| aborted\]$/),
  ]);
});

test.concurrent.each<[string[], RegExp]>([
  [[at("text.txt")], /required option '--budget <n>' not specified/],
  [[at("text.txt"), "--budget", "0"], /Invalid --budget 0:/],
  [[at("text.txt"), "--budget", "9", "--overlap", "-1"], /Invalid --overlap -1:/],
  [
    [at("text.txt"), "--budget", "9", "--window", "20", "--overlap", "20"],
    /overlap by 20.*0 to 19/,
  ],
  [[at("text.txt"), "--budget", "9", "--fan-in", "1"], /Invalid --fan-in 1:/],
  [[at("text.txt"), "--budget", "9", "--window", "600"], /do not fit the \d+ tokens .*at most \d+/],
  [[at("empty.txt"), "--budget", "9"], /Nothing to summarise: .*empty\.txt has no text/],
  [[at("none.txt"), "--budget", "9"], /none\.txt: no such file/],
])("%j", async (args, message) => {
  await fail(["summarize", ...args, ...small], message);
});
