// Texts and conversations that go on in another process, and the drawing of shared pages.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dawnstream, json } from "../support/cli.ts";
import { fixtureModel } from "../support/models.ts";

const MODEL = ["--model", fixtureModel("stories260K-F32.gguf"), "--context", "400", "--page", "4"];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dawnstream-sessions-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("generate --session", () => {
  test("goes on in the next process as if it had not ended", async () => {
    const file = join(folder, "text");
    const run = (more: readonly string[]) => dawnstream(["generate", ...MODEL, ...more]);
    const sampled = ["--temperature", "0.7", "--seed", "5"];
    const whole = await run(["Once upon a time", "--max-tokens", "280", ...sampled]);
    const kept = ["--session", file, ...sampled];
    const first = await run(["Once upon a time", "--max-tokens", "24", ...kept]);
    expect(first.stderr.at(-1)).toMatch(/^\[\d+ tokens in .*text\]$/);
    const rest = await json<{
      text: string;
      usage: { cachedTokens: number; promptTokens: number };
    }>(["generate", ...MODEL, "--max-tokens", "256", ...kept, "--json"]);
    expect(first.text.replace(/\n$/, "") + rest.text).toBe(whole.text.replace(/\n$/, ""));
    // All but the token that was chosen last.
    expect(rest.usage.cachedTokens).toBe(rest.usage.promptTokens - 1);
  });

  test("takes more text, and refuses what it cannot keep", async () => {
    const file = join(folder, "more");
    const run = (...more: readonly string[]) =>
      dawnstream(["generate", ...MODEL, "--session", file, "--max-tokens", "8", ...more]);
    await run("Once upon a time");
    const { text } = await run(" The cat");
    expect(text).toMatch(/^ The cat/);
    const before = await readFile(file);
    for (const [flags, message] of [
      [["--answers", "2"], /leave out --answers/],
      [["--beams", "2"], /leave out --beams/],
      [["--no-cache"], /leave out --no-cache/],
      [["--kv", "f32"], /made with kv f16.*Load the model with kv f16/],
      [["--rope", "linear:2"], /another RoPE scaling/],
    ] as const) {
      const { status, stderr, text } = await run(" x", ...flags);
      expect([status, text]).toEqual([2, ""]);
      expect(stderr.at(-1)).toMatch(message);
    }
    expect(await readFile(file)).toEqual(before);
    await writeFile(file, before.subarray(0, before.length - 9));
    const cut = await run(" x");
    expect([cut.status, cut.text]).toEqual([2, ""]);
    expect(cut.stderr.at(-1)).toMatch(/the session is damaged/);
  });
});

test("chat /session goes on with messages and pages", async () => {
  const file = join(folder, "chat");
  const flags = [
    "chat",
    ...MODEL,
    "--temperature",
    "0",
    "--max-tokens",
    "12",
    "--template",
    "chatml",
  ];
  const saved = await dawnstream(flags, { input: `Hello\n/session save ${file}\n/bye\n` });
  expect(saved.stderr).toContain(`2 messages and their pages in ${file}`);
  const whole = await dawnstream(flags, { input: "Hello\nWhy?\n/bye\n" });
  const loaded = await dawnstream(flags, { input: `/session load ${file}\nWhy?\n/bye\n` });
  expect(loaded.status).toBe(0);
  expect(loaded.text).toBe(whole.text.slice(saved.text.length));
  const found = (lines: readonly string[]) =>
    lines.at(-1)!.match(/prompt \d+ tokens \(\d+ cached\)/)![0];
  expect(found(loaded.stderr)).toBe(found(whole.stderr));

  const text = join(folder, "of generate");
  await dawnstream(["generate", "a", ...MODEL, "--max-tokens", "3", "--session", text]);
  for (const [line, message] of [
    ["/session", /takes save FILE or load FILE/],
    ["/session keep x", /takes save FILE or load FILE/],
    [`/session load ${join(folder, "none")}`, /none/],
    [`/session load ${text}`, /has a text, not a conversation/],
  ] as const) {
    const { status, stderr } = await dawnstream(flags, { input: `${line}\n` });
    expect(status).toBe(2);
    expect(stderr.at(-1)).toMatch(message);
  }
  const asText = await dawnstream(["generate", "x", ...MODEL, "--session", file]);
  expect(asText.status).toBe(2);
  expect(asText.stderr.at(-1)).toMatch(/has a conversation/);
});

test("cache draws which pages texts share", async () => {
  const texts = ["Once upon a time there was a cat", "Once upon a time there was a dog", "No"];
  const { text } = await dawnstream(["cache", ...texts, ...MODEL]);
  const report = await json<{
    texts: { tokens: number; found: number; pages: number[] }[];
    used: number;
    kept: number;
  }>(["cache", ...texts, ...MODEL, "--json"]);
  const [first, second, third] = report.texts as [
    (typeof report.texts)[0],
    (typeof report.texts)[0],
    (typeof report.texts)[0],
  ];
  expect(first.found).toBe(0);
  expect(second.found).toBeGreaterThan(0);
  const shared = second.found / 4;
  expect(second.pages.slice(0, shared)).toEqual(first.pages.slice(0, shared));
  expect(new Set([...first.pages, ...second.pages, ...third.pages]).size).toBe(report.used);
  const wholePages = (tokens: number) => Math.floor(tokens / 4);
  expect(report.kept).toBe(
    wholePages(first.tokens) + wholePages(second.tokens) + wholePages(third.tokens) - shared,
  );
  const [, , row] = text.split("\n");
  expect(row!.match(/\[\d+\]/g)!.length).toBe(shared);
});
