// Drafts by a command line.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { dawnstream, json, temporaryFolder } from "../support/cli.ts";
import { fixtureModel } from "../support/models.ts";

const MODEL = fixtureModel("stories260K-F32.gguf");
const OTHER = fixtureModel("stories260K-Q8_0.gguf");
const TEXT = "The dog ran to the big red ball. The dog ran to the big red ball. The dog";

interface Generated {
  readonly tokens: readonly number[];
  readonly usage: { readonly draftTokens: number; readonly acceptedTokens: number };
}

const generate = (...flags: readonly string[]) => {
  const own = ["--model", MODEL, "--temperature", "0", "--max-tokens", "40", "--json"];
  return json<Generated>(["generate", TEXT, ...own, ...flags]);
};

test("generate --draft gives the same text, and counts", async () => {
  const plain = await generate();
  expect(plain.usage).toMatchObject({ draftTokens: 0, acceptedTokens: 0 });
  for (const source of ["ngram", "ngram:2", OTHER]) {
    const { tokens, usage } = await generate("--draft", source);
    expect(tokens).toEqual(plain.tokens);
    expect(usage.acceptedTokens, source).toBeGreaterThan(0);
    expect(usage.acceptedTokens).toBeLessThanOrEqual(usage.draftTokens);
  }
});

test("bench decode --draft times a text with and without, and says what was right", async () => {
  const file = join(temporaryFolder(), "text.txt");
  writeFileSync(file, TEXT);
  const flags = ["--model", MODEL, "--file", file, "--tokens", "40", "--rounds", "2", "--json"];
  const report = await json<Record<string, unknown>>([
    "bench",
    "decode",
    "--draft",
    OTHER,
    ...flags,
  ]);
  expect(report).toMatchObject({ what: "drafts", draft: OTHER, tokens: 40 });
  const {
    without,
    with: drafted,
    draftTokens,
    acceptedTokens,
  } = report as unknown as {
    without: { tokensPerSecond: number; samples: number[] };
    with: { tokensPerSecond: number; samples: number[] };
    draftTokens: number;
    acceptedTokens: number;
  };
  for (const { tokensPerSecond, samples } of [without, drafted]) {
    expect(samples.length).toBe(2);
    expect(tokensPerSecond).toBeGreaterThan(0);
  }
  // The same model in fewer bits: it is right nearly always.
  expect(acceptedTokens).toBeGreaterThan(draftTokens / 2);
});

test.each([
  [["bench", "decode", "--draft", "ngram"], "--draft needs a --file: its gain depends on"],
  [["bench", "decode", "--file", "a.txt"], "--file is of --draft: give both."],
  [["bench", "decode", "--draft", "ngram", "--at", "8"], "--at does nothing beside --draft"],
  [["generate", "Once", "--draft", "ngram:16"], "ngram:K with K from 1 to 15, or a GGUF file."],
  [["generate", "Once", "--draft", "ngram", "--no-cache"], "leave out draft or cache."],
  [["generate", "Once", "--draft", "nothing.gguf"], "nothing.gguf"],
])("%j is refused in one line", async (args, message) => {
  const { status, stderr } = await dawnstream(args);
  expect(status).toBe(2);
  expect(stderr.at(-1)).toContain(message);
});
