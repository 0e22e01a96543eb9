// dawnstream index and ask, as they are built.

import { execFile, execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { dawnstream, fail, json, succeed, temporaryFolder } from "../support/cli.ts";
import { fixtureModel } from "../support/models.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
// The one with the fewest kernels to compile.
const small = ["--model", fixtureModel("stories260K-F32.gguf")];
const stories: Record<string, string> = {
  "ball.txt": "Tom had a red ball. He played with it in the park every day with his dog.",
  "cake.txt": "Lily baked a cake with her mom. The cake was sweet and it smelled good.",
  "frog.txt": "The old frog lived in a pond. It sang songs at night to the moon.",
};
for (const [name, text] of Object.entries(stories)) writeFileSync(at(name), text);
writeFileSync(at("long.txt"), "Once upon a time there was a big dog. ".repeat(400));
writeFileSync(at("empty.txt"), " \n");
writeFileSync(at("latin1.txt"), Buffer.from([0x63, 0x61, 0x66, 0xe9]));

interface Found {
  readonly source: string;
  readonly text: string;
  readonly score: number;
  readonly tokens: number;
}

beforeAll(async () => {
  const files = Object.keys(stories).map(at);
  const run = await succeed(["index", ...files, ...small, "--out", at("s.index"), "--size", "40"]);
  expect(run.text.split("\n")[0]).toMatch(/ball\.txt: \d+ tokens in 1 windows$/);
  expect(run.stderr).toEqual([
    expect.stringMatching(
      /^\[load .* 3 windows of 40 tokens, 5 shared .* tok\/s .*s\.index: .* kB\]$/,
    ),
  ]);
});

test("ask finds by meaning, words and both, and prints windows or one object", async () => {
  const ask = [
    "ask",
    "Who sang to the moon?",
    "--index",
    at("s.index"),
    ...small,
    "--sources-only",
  ];
  for (const mode of ["embedding", "bm25", "hybrid"]) {
    const { sources } = await json<{ sources: Found[] }>([...ask, "--mode", mode, "--json"]);
    if (mode !== "embedding") expect(sources[0]!.source).toBe(at("frog.txt"));
    expect(sources.map(({ score }) => score)).toEqual(
      sources.map(({ score }) => score).sort((a, b) => b - a),
    );
    for (const { source, text } of sources) expect(readFileSync(source, "utf8")).toBe(text);
  }
  const { text } = await succeed([...ask, "--k", "1", "--mode", "bm25"]);
  expect(text).toMatch(
    /^\[1\] .*frog\.txt, tokens 0 to \d+, score [\d.]+\nThe old frog .*moon\.\n\n$/,
  );
  const none = await succeed(["ask", "Xyzzy?", ...ask.slice(2), "--mode", "bm25"]);
  expect(none.text).toBe("");
  expect(none.stderr).toEqual(["[no window shares a word with the question]"]);
});

test("ask answers within the context, the same for the same seed, and draws the scores", async () => {
  const ask = ["ask", "-", "--index", at("s.index"), ...small, "--context", "140", "--seed", "3"];
  const answering = [...ask, "--max-tokens", "30", "--k", "3"];
  const input = "Who baked a cake?\n";
  interface Answer {
    readonly answer: string;
    readonly sources: Found[];
    readonly leftOut: Found[];
    readonly usage: { readonly promptTokens: number; readonly generatedTokens: number };
  }
  const plot = at("scores.svg");
  const found = await json<Answer>([...answering, "--json", "--plot", plot], { input });
  expect(found.sources[0]!.source).toBe(at("cake.txt"));
  expect(found.sources.length + found.leftOut.length).toBe(3);
  expect(found.leftOut.length).toBeGreaterThan(0);
  expect(found.usage.promptTokens + 30).toBeLessThanOrEqual(140);
  const plain = await succeed(answering, { input });
  expect(plain.text.startsWith(found.answer)).toBe(true);
  expect(plain.text).toMatch(/\n\n\[1\] .*cake\.txt, tokens 0 to \d+, score \S+, \d+ tokens\n/);
  expect(plain.stderr).toEqual([
    expect.stringMatching(/no room for \d more.* tok\/s \| \w+ \| seed 3\]$/),
  ]);
  const svg = readFileSync(plot, "utf8");
  for (const title of ["cosine", "BM25", "both, standardised"]) expect(svg).toContain(title);
});

test("an index of stdin, with settings of its own, as one object", async () => {
  const args = ["index", "-", ...small, "--out", at("stdin.index"), "--json"];
  const settings = [
    "--size",
    "16",
    "--overlap",
    "4",
    "--pooling",
    "last",
    "--layer",
    "1",
    "--no-whiten",
  ];
  const object = await json<object>([...args, ...settings], { input: stories["ball.txt"]! });
  expect(object).toMatchObject({ size: 16, overlap: 4, pooling: "last", layer: 1, whiten: false });
  const { sources } = await json<{ sources: Found[] }>([
    ...["ask", "a red ball", "--index", at("stdin.index"), ...small, "--sources-only", "--json"],
  ]);
  expect(sources.length).toBeGreaterThan(1);
  for (const { source, text } of sources) {
    expect(source).toBe("stdin");
    expect(stories["ball.txt"]).toContain(text);
  }
});

test("Ctrl-C leaves no index, nor half of one; one that was there stays as it was", async () => {
  writeFileSync(at("old.index"), "old");
  const args = ["index", at("ball.txt"), at("long.txt"), ...small, "--size", "32"];
  const run = await dawnstream([...args, "--out", at("old.index")], {
    onOutput: (child) => void child.kill("SIGINT"),
  });
  expect(run.status).toBe(130);
  expect(run.stderr).toEqual([]);
  expect(readFileSync(at("old.index"), "utf8")).toBe("old");
  expect(readdirSync(folder).filter((name) => name.endsWith(".part"))).toEqual([]);
});

test("an index goes where a link points, into what is no file, and over an index, never by the way of another file", async () => {
  const index = (out: string) => ["index", at("ball.txt"), ...small, "--out", out];
  writeFileSync(at("target.index"), "old");
  symlinkSync(at("target.index"), at("link.index"));
  writeFileSync(at("target.index.part"), "mine");
  await succeed(index(at("link.index")));
  expect(lstatSync(at("link.index")).isSymbolicLink()).toBe(true);
  expect(readFileSync(at("target.index")).subarray(0, 8).toString()).toBe("DAWNINDX");
  expect(readFileSync(at("target.index.part"), "utf8")).toBe("mine");
  execFileSync("mkfifo", [at("pipe")]);
  const reader = execFile("cat", [at("pipe")], { encoding: "buffer" });
  const read: Buffer[] = [];
  reader.stdout!.on("data", (chunk: Buffer) => read.push(chunk));
  const ended = new Promise((resolve) => reader.on("close", resolve));
  await succeed(index(at("pipe")));
  await ended;
  expect(Buffer.concat(read)).toEqual(readFileSync(at("target.index")));
  expect(lstatSync(at("pipe")).isFIFO()).toBe(true);
});

describe("mistakes", () => {
  const out = ["--out", at("new.index")];
  const mistakes: [string[], RegExp][] = [
    [["index", at("ball.txt")], /required option '--out <file>'/],
    [["index", ...out], /No text: give FILE/],
    [["index", at("none.txt"), ...out], /none\.txt: no such file/],
    [["index", at("empty.txt"), ...out], /Nothing to index: .*empty\.txt has no text/],
    [["index", "-", ...out], /Nothing to index: stdin has no text/],
    [["index", at("latin1.txt"), ...out], /not UTF-8/],
    [["index", at("ball.txt"), "--out", at("none/x.index")], /no such folder/],
    [["index", at("ball.txt"), ...out, "--size", "0"], /Invalid --size 0/],
    [
      ["index", at("ball.txt"), ...out, "--size", "8", "--overlap", "8"],
      /Windows of 8 tokens cannot overlap by 8/,
    ],
    [
      ["index", at("ball.txt"), ...out, "--size", "4000"],
      /exceed the context of 512: expected at most 496/,
    ],
    [
      ["index", at("ball.txt"), ...out, "--layer", "9"],
      /Invalid --layer 9: expected a whole number from 0 to 5/,
    ],
    [
      ["index", at("ball.txt"), ...out, "--pooling", "max"],
      /expected one of mean, mean-all, cls, last/,
    ],
    [["ask", "Who?"], /required option '--index <file>'/],
    [["ask", " ", "--index", at("s.index")], /The question is empty/],
    [["ask", "Who?", "--index", at("none.index")], /none\.index: no such file/],
    [["ask", "Who?", "--index", at("ball.txt")], /Not an index: it does not begin with/],
    [["ask", "Who?", "--index", at("cut.index")], /The index is damaged: its checksum is another/],
    [["ask", "Who?", "--index", at("s.index"), "--k", "0"], /Invalid --k 0/],
    [
      ["ask", "Who?", "--index", at("s.index"), "--mode", "best"],
      /expected one of embedding, bm25, hybrid/,
    ],
    [["ask", "Who?", "--index", at("s.index"), "--plot", at("x.pdf")], /ends in \.svg or \.png/],
    [
      ["ask", "Who?", "--index", at("s.index"), "--max-tokens", "512"],
      /leaves no room for a question/,
    ],
    [
      ["ask", "Who?", "--index", at("s.index"), "--max-tokens", "505"],
      /The question takes \d+ tokens in its prompt/,
    ],
  ];

  beforeAll(() => writeFileSync(at("cut.index"), readFileSync(at("s.index")).subarray(0, 1000)));

  test.concurrent.each(mistakes)("%j", async (args, message) => {
    await fail([...args, ...small], message);
    expect(existsSync(at("new.index"))).toBe(false);
  });

  test("the index of the same model, read in another way", async () => {
    const ask = ["ask", "Who?", "--index", at("s.index"), ...small, "--sources-only"];
    for (const flag of [
      ["--rope", "linear:2"],
      ["--attention", "window:2"],
    ]) {
      await fail([...ask, ...flag], /another --rope or --attention/);
    }
    await succeed([...ask, "--kv", "f32", "--context", "256"]);
  });

  test("the index of another model", async () => {
    const other = ["--model", fixtureModel("stories260K-Q8_0.gguf")];
    await fail(["ask", "Who?", "--index", at("s.index"), ...other], /made with another model/);
  });
});
