// The laboratory: what the cache buys, how far RoPE scalings carry, what happens to long streams.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { dawnstream, fail, json, succeed, temporaryFolder } from "../support/cli.ts";
import { fixtureModel } from "../support/models.ts";
import { tinyModel } from "../support/tiny-model.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const stories = fileURLToPath(new URL("../fixtures/text/stories.txt", import.meta.url));
const small = ["--model", fixtureModel("stories260K-F32.gguf")];

test("bench cache: the cache changes no logit, and without it the time of a token grows", async () => {
  const plot = at("cache.svg");
  const args = [
    "bench",
    "cache",
    ...small,
    "--kv",
    "f32",
    "--tokens",
    "100",
    "--policies",
    "sinks:4+20",
  ];
  const { rows } = await json<{
    rows: {
      mode: string;
      nmse: number | null;
      msFirst: number;
      msLast: number;
      cacheBytes: number;
    }[];
  }>([...args, "--json", "--plot", plot]);
  const of = (mode: string) => rows.find((row) => row.mode === mode)!;
  // f32 pages: only the order of sums differs between one token and many.
  expect(of("full, cached").nmse).toBeLessThan(1e-10);
  expect(of("sinks:4+20, cached").nmse).toBeLessThan(1e-10);
  // 5 + 100 tokens recomputed against 5 + 10: a matmul of 16 tokens at a time does seven tiles instead of one.
  expect(of("full, recomputed").msLast).toBeGreaterThan(1.5 * of("full, recomputed").msFirst);
  expect(of("sinks:4+20, cached").cacheBytes).toBeLessThan(of("full, cached").cacheBytes);
  expect(readFileSync(plot, "utf8")).toMatch(/^<svg.*position \(tokens\)/s);
});

interface ModelBench {
  readonly what: string;
  readonly stepBytes: number;
  readonly rows: {
    at: number;
    msPerToken: number;
    hostMs: number;
    samples: number[];
    dispatches: number;
    weightGigabytesPerSecond?: number;
    profile: { phase: string; kernels: { kernel: string; ms: number }[] }[];
  }[];
}

test("bench decode and bench prefill: by position, each kernel with its share", async () => {
  const plot = at("decode.svg");
  const bench = (...args: string[]) => json<ModelBench>(["bench", ...args, ...small, "--json"]);
  const decode = await bench("decode", "--at", "20,300", "--tokens", "8", "--plot", plot);
  expect(decode.rows.map((row) => row.at)).toEqual([20, 300]);
  for (const row of decode.rows) {
    expect(row.samples.length).toBe(8);
    expect(row.msPerToken).toBeGreaterThan(row.hostMs);
    expect(row.hostMs).toBeGreaterThan(0);
    const gigabytes = decode.stepBytes / row.msPerToken / 1e6;
    expect(row.weightGigabytesPerSecond).toBeCloseTo(gigabytes, 9);
    expect(row.profile.map(({ phase }) => phase)).toEqual(["decode"]);
  }
  // The second position needs two splits, and so a merge in each of the five layers.
  expect(decode.rows[1]!.dispatches - decode.rows[0]!.dispatches).toBe(5);
  expect(readFileSync(plot, "utf8")).toMatch(/^<svg.*position \(tokens\)/s);

  const prefill = await bench("prefill", "--at", "40", "--rounds", "2");
  expect(prefill.rows[0]).toMatchObject({ at: 40, profile: [{ phase: "prefill" }] });
  expect(prefill.rows[0]!.samples.length).toBe(2);

  const { text } = await succeed(["bench", "decode", ...small, "--at", "20", "--tokens", "4"]);
  expect(text).toMatch(/^at +ms a token +tok\/s +host ms a step/);
  expect(text).toMatch(/^attention\..* %$/m);
  expect(text).toMatch(/^all of 8 steps +\d+ +\d+\.\d+ +100\.0 %$/m);
  await fail(["bench", "decode", ...small, "--at", "600"], /exceed the context of 512/);
  await fail(["bench", "decode", ...small, "--at", "20,x"], /'20,x'.*whole number/);
  await fail(["bench", "prefill", ...small, "--at", "1"], /--at: expected at least 2/);
  await fail(["bench", "prefill", ...small, "--rounds", "0"], /--rounds: expected at least 1/);
});

interface Together {
  readonly rows: {
    texts: number;
    tokensPerSecond: number;
    ratio: number;
    samples: number[];
    differences: unknown[];
  }[];
}

test("bench decode --texts: by number of texts, each the same as alone", async () => {
  const plot = at("texts.svg");
  const args = ["bench", "decode", ...small, "--tokens", "8", "--rounds", "2"];
  const { rows } = await json<Together>([...args, "--texts", "4,2", "--json", "--plot", plot]);
  expect(rows.map(({ texts }) => texts)).toEqual([1, 2, 4]); // one, too, to compare with
  expect(rows[0]!.ratio).toBe(1);
  for (const { samples, tokensPerSecond, ratio, differences } of rows) {
    expect(samples.length).toBe(2);
    const mean = (of: readonly number[]) => (of[0]! + of[1]!) / 2;
    expect(tokensPerSecond).toBeCloseTo(mean(samples), 9);
    expect(ratio).toBeCloseTo(mean(samples.map((x, i) => x / rows[0]!.samples[i]!)), 9);
    expect(differences).toEqual([]); // 1 to 16 rows: to the bit
  }
  expect(readFileSync(plot, "utf8")).toMatch(/^<svg.*tokens a second/s);

  const { text } = await succeed([...args, "--texts", "2", "--at", "40"]);
  expect(text).toMatch(/^texts +tok\/s +of one +ms a step +texts that differ\n/);
  expect(text).toMatch(/^2 .* 0 of 4$/m);
  await fail([...args, "--texts", "0"], /--texts.*numbers of texts from 1 to 64/);
  await fail([...args, "--texts", "2", "--at", "8,9"], /--texts are timed at one position/);
  await fail([...args, "--texts", "2", "--at", "600"], /exceed the context of 512/);
  await fail([...args], /--rounds are of --texts/);
});

interface Served {
  readonly ms: number;
  readonly tokensPerSecond: number;
  readonly first: { median: number; most: number };
  readonly between: { median: number; most: number };
}

test("bench serve: a mixture of requests, at the same time and one after the other", async () => {
  const args = ["bench", "serve", ...small, "--requests", "5", "--sequences", "3"];
  const ranges = ["--prompts", "2..9", "--answers", "4..12"];
  const found = await json<{
    promptTokens: number;
    answerTokens: number;
    sequences: number;
    seed: number;
    ratio: number;
    together: Served;
    oneByOne: Served;
    differences: unknown[];
  }>([...args, ...ranges, "--json"]);
  expect(found).toMatchObject({ sequences: 3, seed: 1, differences: [] });
  const { promptTokens, answerTokens, together, oneByOne, ratio } = found;
  expect(promptTokens).toBeGreaterThanOrEqual(5 * 2);
  expect(promptTokens).toBeLessThanOrEqual(5 * 9);
  expect(answerTokens).toBeGreaterThanOrEqual(5 * 4);
  expect(answerTokens).toBeLessThanOrEqual(5 * 12);
  expect(ratio).toBeCloseTo(oneByOne.ms / together.ms, 9);
  for (const { ms, tokensPerSecond, first, between } of [together, oneByOne]) {
    expect(tokensPerSecond).toBeCloseTo((answerTokens * 1000) / ms, 9);
    expect(first.most).toBeGreaterThanOrEqual(first.median);
    expect(first.most).toBeLessThan(ms);
    expect(between.most).toBeGreaterThanOrEqual(between.median);
  }

  const { text } = await succeed([...args, ...ranges]);
  expect(text).toMatch(/^ +seconds +tok\/s +first ms +95 % +between ms +95 %\n/);
  expect(text).toMatch(/^one after the other .*\n3 at a time .*\n5 requests, /m);
  await fail([...args, "--prompts", "9..2"], /--prompts.*least and the most, such as 8\.\.64/);
  await fail([...args, "--answers", "500..600"], /exceed the context of 512/);
  await fail(["bench", "serve", ...small, "--requests", "0"], /--requests 0/);
});

test("bench prefill: the context grows to the prompt, as far as the model was trained", async () => {
  const path = at("long.gguf");
  writeFileSync(path, tinyModel({ seed: 3, context: 8192 }).bytes);
  const args = ["bench", "prefill", "--model", path, "--rounds", "1", "--json"];
  const { rows } = await json<ModelBench>([...args, "--at", "4200"]);
  expect(rows[0]).toMatchObject({ at: 4200, profile: [{ phase: "prefill" }] });
  await fail([...args, "--at", "8193"], /8193 tokens exceed the context of 8192/);
  await fail([...args, "--at", "4200", "--context", "4096"], /exceed the context of 4096/);
});

test("--profile: the table goes to stderr, the result stays what it was", async () => {
  const args = ["generate", "Once upon a time", ...small, "--temperature", "0"];
  const plain = await succeed([...args, "--max-tokens", "5"]);
  const run = await dawnstream([...args, "--max-tokens", "5", "--profile"]);
  expect(run.text).toBe(plain.text);
  const lines = run.stderr.join("\n");
  expect(lines).toMatch(/^prefill +dispatches +ms a step +share$/m);
  expect(lines).toMatch(/^decode +dispatches +ms a step +share$/m);
  expect(lines).toMatch(/^all of 4 steps/m);
});

interface Sweep {
  readonly results: {
    kind: string;
    method: string;
    length: number;
    value: number;
    byPosition?: number[];
  }[];
}

test("rope: cells are kept, a second run computes none, a third only what is new", async () => {
  const keep = at("cells");
  const args = [
    "rope",
    "--json",
    "--file",
    stories,
    "--methods",
    "none,ntk:2",
    "--trials",
    "0",
    "--keep",
    keep,
  ];
  const lengths = ["--lengths", "64,128"];
  const first = await json<Sweep>([
    ...args,
    ...lengths,
    ...small,
    "--csv",
    at("rope.csv"),
    "--plot",
    at("rope.svg"),
  ]);
  expect(first.results.map(({ method, length }) => `${method} ${length}`)).toEqual([
    "none 64",
    "none 128",
    "ntk:2 64",
    "ntk:2 128",
  ]);
  for (const { value, byPosition } of first.results) {
    expect(value).toBeGreaterThan(1);
    expect(byPosition?.length).toBe(8);
  }
  expect(readFileSync(at("rope.csv"), "utf8").trim().split("\n").length).toBe(5);
  expect(readFileSync(at("rope.svg"), "utf8")).toContain("perplexity");

  // What is kept is believed: a value put in by hand comes back.
  const cells = readdirSync(keep).map((name) => join(keep, name));
  expect(cells.length).toBe(4);
  for (const cell of cells)
    writeFileSync(cell, JSON.stringify({ ...JSON.parse(readFileSync(cell, "utf8")), value: 42 }));
  const second = await json<Sweep>([...args, ...lengths, ...small]);
  expect(second.results.map(({ value }) => value)).toEqual([42, 42, 42, 42]);
  const third = await json<Sweep>([...args, "--lengths", "64,96", ...small]);
  expect(third.results.map(({ value }) => value === 42)).toEqual([true, false, true, false]);
});

test("rope: perplexity of the shipped model at its own length is that of perplexity", async () => {
  const args = [
    "rope",
    "--json",
    "--file",
    stories,
    "--methods",
    "none",
    "--lengths",
    "256",
    "--trials",
    "1",
    "--depths",
    "0.5",
  ];
  const { results } = await json<Sweep>([...args, "--keep", at("one.json")]);
  const { perplexity } = await json<{ perplexity: number }>([
    "perplexity",
    stories,
    "--json",
    "--context",
    "256",
    "--chunks",
    "1",
  ]);
  expect(results[0]!.value).toBeCloseTo(perplexity, 6);
  // The card: found always at a distance of 20 to 150 tokens.
  expect(results[1]).toMatchObject({ kind: "passkey", value: 1 });
});

test("stream: a window stays in constant memory, full attention does not", async () => {
  const { runs } = await json<{
    runs: { policy: string; parts: { cacheBytes: number; perplexity: number }[] }[];
  }>([
    "stream",
    "--json",
    ...["--file", stories, "--tokens", "400", "--parts", "4"],
    ...["--policies", "full,sinks:4+60,recompute:32", "--every", "40", "--plot", at("stream.svg")],
    ...small,
  ]);
  const bytes = (policy: string) =>
    runs.find((run) => run.policy === policy)!.parts.map((part) => part.cacheBytes);
  const [full, sinks] = [bytes("full"), bytes("sinks:4+60")];
  expect(full[3]).toBeGreaterThan(3 * full[0]!);
  // 1 page of sinks, 5 for a window of 60 at any place: each 2 x 5 layers x 4 heads x 8 x 16 tokens x 2 bytes.
  expect(Math.max(...sinks)).toBe(6 * 2 * 5 * 4 * 8 * 16 * 2);
  for (const { parts } of runs)
    for (const { perplexity } of parts) expect(perplexity).toBeGreaterThan(1);
  expect(readFileSync(at("stream.svg"), "utf8")).toContain("cache held (kB)");
});

test("stream: an ablation compares sinks and cache sizes where every cache is full", async () => {
  // f32 pages: half a unit of an f16 more or less, where sums are in another order, would show in the figures.
  const exact = ["--kv", "f32", ...small];
  const args = ["stream", "--file", stories, "--tokens", "200", "--parts", "4", ...exact];
  const grid = ["--sinks", "0,4", "--caches", "16,32"];
  const { runs } = await json<{ runs: { policy: string; steadyPerplexity: number }[] }>([
    ...args,
    ...grid,
    "--json",
  ]);
  expect(runs.map(({ policy }) => policy)).toEqual([
    "sinks:0+16",
    "sinks:4+12",
    "sinks:0+32",
    "sinks:4+28",
  ]);
  const { text } = await succeed([...args, ...grid, "--plot", at("ablation.svg")]);
  const cells = (of: (typeof runs)[number][]) => of.map((run) => run.steadyPerplexity.toFixed(3));
  for (const [sinks, row] of [
    [0, cells([runs[0]!, runs[2]!])],
    [4, cells([runs[1]!, runs[3]!])],
  ] as const) {
    expect(text).toMatch(new RegExp(`^${sinks} +${row[0]} +${row[1]}$`, "m"));
  }
  // The score of the same tokens after the 32nd, by another way.
  const scored = await json<{ nll: number[] }>([
    "perplexity",
    ...["--tokens", await firstTokens(200), "--attention", "sinks:4+12", "--json"],
    ...exact,
  ]);
  const rest = scored.nll.slice(32);
  const mean = rest.reduce((sum, value) => sum + value, 0) / rest.length;
  expect(runs[1]!.steadyPerplexity).toBeCloseTo(Math.exp(mean), 3);
  expect(readFileSync(at("ablation.svg"), "utf8")).toContain("How many sinks");
});

/** A file with the ids of the first tokens of the stories and one more, which the last of them predicts. */
async function firstTokens(count: number): Promise<string> {
  const ids = await json<number[]>(["tokenize", "--file", stories, "--json", ...small]);
  writeFileSync(at("ids.json"), JSON.stringify(ids.slice(0, count + 1)));
  return at("ids.json");
}

test("rope: passkeys are told by depth and length", async () => {
  const args = ["rope", "--file", stories, "--methods", "none,linear:4", "--lengths", "128"];
  const passkeys = ["--trials", "1", "--depths", "0.2,0.8", "--keep", at("depths.json")];
  const { text } = await succeed([...args, ...passkeys, "--plot", at("depths.svg")]);
  const grid = text.slice(text.indexOf("passkeys found"));
  // The card: found always at a distance of 20 to 150 tokens; not at all where positions are squeezed untrained.
  expect(grid).toMatch(/^none +0\.2 +100 %$/m);
  expect(grid).toMatch(/^none +0\.8 +100 %$/m);
  expect(grid).toMatch(/^linear:4 +0\.2 +0 %$/m);
  expect(readFileSync(at("depths.svg"), "utf8")).toContain(
    "depth of the passkey within 128 tokens",
  );
});

test.each([
  [["rope"], /No text: give FILE/],
  [["rope", "--file", stories, "--methods", "magic:2"], /"magic:2"/],
  [["rope", "--file", stories, "--lengths", "9"], /lengths of 16 or more/],
  [["rope", "--file", stories, "--lengths", "100000"], /need 100000/],
  [["rope", "--file", stories, "--plot", "a.gif"], /\.svg or \.png/],
  [["stream", "--file", stories, "--policies", "drain:4"], /drain:4/],
  [["stream", "--file", stories, "--tokens", "1000000"], /needs more/],
  [["stream", "--file", stories, "--sinks", "64", "--caches", "64"], /leave no window/],
  [["stream", "--file", stories, "--sinks", "-1"], /numbers of tokens/],
  [["stream", "--file", stories, "--sinks", "1", "--policies", "full"], /Give either --policies/],
  [["rope", "--file", stories, "--csv", "/no/such/folder/a.csv"], /no such folder/],
  [["bench", "cache", "--tokens", "2"], /at least 8/],
  [["bench", "cash"], /unknown command 'cash'/],
])("%j is refused in one line", async (args, message) => {
  await fail(args, message);
});

test("generate: a full context stops or slides, RoPE is chosen for a length, keys may be raw", async () => {
  const ask = [
    "generate",
    "Once upon a time",
    ...small,
    "--temperature",
    "0",
    "--ignore-eos",
    "--json",
  ];
  const of = (args: readonly string[]) =>
    json<{ tokens: readonly number[]; usage: { promptTokens: number } }>([...ask, ...args]);
  const stopped = await of(["--context", "40", "--max-tokens", "100", "--when-full", "stop"]);
  expect(stopped.usage.promptTokens + stopped.tokens.length).toBe(40);
  const slid = await of(["--context", "40", "--max-tokens", "100", "--when-full", "slide:4"]);
  expect(slid.tokens.length).toBe(100);
  expect(slid.tokens.slice(0, stopped.tokens.length)).toEqual(stopped.tokens);
  // f32 pages: keys that turn before they are stored, or after they are read, are rounded alike.
  const rotated = await of(["--max-tokens", "30", "--kv", "f32"]);
  expect((await of(["--max-tokens", "30", "--kv", "f32", "--keys", "raw"])).tokens).toEqual(
    rotated.tokens,
  );

  const auto = await dawnstream([
    ...ask,
    "--max-tokens",
    "1",
    "--context",
    "1024",
    "--rope",
    "auto",
  ]);
  expect(auto.stderr[0]).toMatch(/^warning: RoPE: 1024 tokens exceed the 512 .* yarn:2/);
  const scaled = await of(["--max-tokens", "30", "--rope-freq-base", "500"]);
  expect(scaled.tokens).not.toEqual((await of(["--max-tokens", "30"])).tokens);
  await fail([...ask, "--when-full", "slide"], /--when-full.*expected error, stop or slide:K/);
});
