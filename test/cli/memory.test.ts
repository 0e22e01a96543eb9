// dawnstream memory: what it says is kept fits, counted by the model's tokenizer; a mistake is one line.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { loadTokenizer, type Message, SHIPPED_MODEL } from "../../src/index.ts";
import { fail, json, succeed, temporaryFolder } from "../support/cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const file = fileURLToPath(new URL("../../examples/conversation.json", import.meta.url));
const conversation = JSON.parse(readFileSync(file, "utf8")) as Message[];
const tokenizer = await loadTokenizer(SHIPPED_MODEL);
const BOS = 1;
/** As the template "plain" writes them; beside an empty question where nothing has been asked. */
const count = (messages: readonly Message[]): number => {
  const contents = messages.map(({ content }) => content);
  const first = messages.findIndex(({ role }) => role !== "system");
  if (messages[first]?.role === "user") return tokenizer.encode(contents.join("\n\n")).length;
  contents.splice(first < 0 ? contents.length : first, 0, "");
  return tokenizer.encode(contents.join("\n\n")).length - BOS;
};

/** What strategies without a summary need no adapter for: the Vulkan loader finds no driver here. */
const NO_DRIVER = { VK_DRIVER_FILES: "/nonexistent.json", VK_ICD_FILENAMES: "/nonexistent.json" };

interface Output {
  readonly budget: number;
  readonly tokens: number;
  readonly conversation: readonly (Message & { tokens: number })[];
  readonly strategies: readonly {
    strategy: string;
    tokens: number;
    messages: readonly Message[];
    fates: readonly { kind: string; visible?: number; tokens?: number }[];
    fill?: readonly { message: number; tokens: number }[];
  }[];
}

test("memory: tokens, fates and the fill of the context, without a GPU", async () => {
  const plot = at("memory.svg");
  const output = await json<Output>(
    [
      ...["memory", file, "--strategy", "turns:3,buffer,sinks:4+296", "--budget", "300"],
      ...["--json", "--plot", plot],
    ],
    { env: NO_DRIVER },
  );
  expect(output).toMatchObject({ budget: 300, tokens: count(conversation) });
  expect(output.tokens).toBeGreaterThan(1000);
  expect(output.conversation).toEqual(
    conversation.map((message) => ({ ...message, tokens: count([message]) })),
  );
  const [turns, buffer, sinks] = output.strategies;
  const [first, ...rest] = conversation;
  expect(turns!.messages).toEqual([first, ...rest.slice(-6)]);
  // The buffer by trying every number of turns; each is a question and an answer here.
  const kept = rest
    .map((_, i) => [first!, ...rest.slice(i)])
    .find((messages) => messages[1]!.role === "user" && count(messages) <= 300)!;
  expect(buffer!.messages).toEqual(kept);
  expect(buffer!.tokens).toBe(count(kept));
  expect(buffer!.fates.filter(({ kind }) => kind === "kept").length).toBe(kept.length);
  expect(sinks!.messages).toEqual(conversation);
  expect(sinks!.fates[0]).toEqual({ kind: "part", visible: 4, tokens: count([first!]) });

  // Each time that the user has said something.
  const said = conversation.flatMap(({ role }, i) => (role === "user" ? [i + 1] : []));
  for (const { fill } of output.strategies) {
    expect(fill!.map(({ message }) => message)).toEqual(said);
    expect(Math.max(...fill!.map(({ tokens }) => tokens))).toBeLessThanOrEqual(300);
    expect(fill![0]!.tokens).toBe(count(conversation.slice(0, 2)));
  }
  expect(sinks!.fill!.at(-1)!.tokens).toBe(300);
  const picture = readFileSync(plot, "utf8");
  expect(picture).toMatch(/^<svg.*How full is the context/s);
  for (const { strategy, fill } of output.strategies) {
    const last = `message: 40; tokens: ${fill!.at(-1)!.tokens}; series: ${strategy}`;
    expect(picture).toContain(last);
  }
  expect(picture).toContain("message: 40; tokens: 300; series: budget");
});

test("memory: a table of what became of each message", async () => {
  const lines = conversation.map((message) => JSON.stringify(message)).join("\n");
  writeFileSync(at("talk.jsonl"), lines);
  const args = ["memory", at("talk.jsonl"), "--strategy", "turns:1,sinks:4+60", "--budget", "120"];
  const { text } = await succeed(args, { env: NO_DRIVER });
  const rows = text.split("\n");
  expect(rows[0]).toMatch(/^message +tokens +turns:1 +sinks:4\+60$/);
  expect(rows[2]).toMatch(/^1 system: You are a kind friend who tel… +47 +kept +4 of 47$/);
  expect(rows[3]).toMatch(/^2 user: Please tell me a story about a … +22 +dropped +dropped$/);
  expect(rows[42]).toMatch(/^41 assistant: .* +28 +kept +kept$/);
  expect(rows[43]).toMatch(/^together, of a budget of 120 +1251 +\d+ +64$/);
});

test("memory: summaries by the model, each turn summarised once however often it is asked", async () => {
  const short = at("short.json");
  writeFileSync(short, JSON.stringify(conversation.slice(0, 13)));
  const args = ["memory", short, "--strategy", "summary,summary:9", "--budget", "240", "--json"];
  const run = await succeed([...args, "--plot", at("summary.svg")]);
  const { strategies } = JSON.parse(run.text) as Output;
  for (const { tokens, messages, fates } of strategies) {
    expect(tokens).toBe(count(messages));
    expect(tokens).toBeLessThanOrEqual(240);
    const rules = conversation[0]!.content;
    expect(
      messages[0]!.content.startsWith(`${rules}\n\nSummary of the conversation so far: `),
    ).toBe(true);
    expect(messages[0]!.role).toBe("system");
    expect(fates.filter(({ kind }) => kind === "summarised").length).toBeGreaterThan(0);
  }
  const gone = strategies.map(({ fates }) => fates.filter(({ kind }) => kind !== "kept").length);
  // Asked after each of six questions and once more, and never told a turn twice.
  const told = /^\[(\d+) turns summarised in /.exec(run.stderr.at(-1)!)![1];
  expect(Number(told)).toBeLessThanOrEqual(5 + 5);
  expect(Number(told)).toBeGreaterThanOrEqual((gone[0]! + gone[1]!) / 2);

  // As long as everything fits there is nothing to summarise, and no model to load.
  const all = ["memory", short, "--strategy", "summary", "--budget", "2000", "--json"];
  const { strategies: whole } = await json<Output>(all, { env: NO_DRIVER });
  expect(whole[0]!.messages).toEqual(conversation.slice(0, 13));
});

describe("memory: mistakes", () => {
  const asked = ["--strategy", "buffer", "--budget", "300"];
  const files: Record<string, string> = {
    "role.json": '[{"role":"user","content":"a"},{"role":"tool","content":"b"}]',
    "content.json": '{"messages":[{"role":"user"}]}',
    "broken.json": "[{",
    "empty.json": "",
    "none.json": "[]",
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(at(name), text);

  test.each<[string, RegExp]>([
    ["role.json", /role\.json: Message 2 has the role "tool": expected one of system, user, assi/],
    ["content.json", /content\.json: Message 1 \(user\) has no content/],
    ["broken.json", /broken\.json: Not JSON/],
    ["empty.json", /empty\.json: An empty conversation/],
    ["none.json", /none\.json: A conversation without messages/],
    ["missing.json", /missing\.json: no such file/],
  ])("%s", async (name, message) => {
    await fail(["memory", at(name), ...asked], message);
  });

  test.each<[string[], RegExp]>([
    [["--strategy", "buffer", "--budget", "1"], /Message 1 \(system, 47 tokens\).*budget of 1 tok/],
    [
      ["--strategy", "summary", "--budget", "1"],
      /Message 1 \(system, 47 tokens\).*take 98; shorten/,
    ],
    [
      ["--strategy", "buffer", "--budget", "97"],
      /Message 41 \(assistant, 28 tokens\).*budget of 97/,
    ],
    [
      ["--strategy", "sinks:4+60", "--budget", "1"],
      /sinks:4\+60 sees up to 64 tokens.*budget of 1/,
    ],
    [
      ["--strategy", "buffer", "--budget", "0"],
      /Invalid --budget 0: expected a whole number from 1/,
    ],
    [["--strategy", "buffer", "--budget", "many"], /--budget.*whole number/],
    [
      ["--strategy", "buffer,turns", "--budget", "9"],
      /Invalid --strategy "turns": expected turns:K/,
    ],
    [["--strategy", "buffer"], /'--budget <n>' not specified/],
    [["--budget", "9"], /'--strategy <list>' not specified/],
  ])("%j", async (args, message) => {
    await fail(["memory", file, ...args], message, { env: NO_DRIVER });
  });
});
