// The commands at their work, as they are built.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { dawnstream, json, succeed, temporaryFolder } from "../support/cli.ts";
import { fixtureModel } from "../support/models.ts";
import { nmse } from "../support/oracle.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
// The one with the fewest kernels to compile.
const small = ["--model", fixtureModel("stories260K-F32.gguf")];

interface Generated {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly finishReason: string;
  readonly logprobs: readonly { readonly top: readonly { readonly id: number }[] }[];
  readonly usage: { readonly promptTokens: number; readonly generatedTokens: number };
  readonly seed: number;
  readonly adapter: string;
  readonly timings: Readonly<Record<string, number>>;
}

test("generate writes prompt and text, the same for the same seed; --json prints one object", async () => {
  const args = ["generate", "Once upon a time", ...small, "--seed", "7", "--max-tokens", "20"];
  const plain = await succeed(args);
  expect(plain.stderr).toEqual([expect.stringMatching(/^\[load .* 20 tokens, .* tok\/s .*seed 7/)]);

  const object = await json<Generated>([...args, "--json", "--logprobs", "2"]);
  expect(`Once upon a time${object.text}\n`).toBe(plain.text);
  expect(object).toMatchObject({ finishReason: "length", seed: 7 });
  expect(object.usage).toEqual({
    promptTokens: 5,
    cachedTokens: 0,
    generatedTokens: 20,
    draftTokens: 0,
    acceptedTokens: 0,
    freeTokens: 512 - 25,
  });
  expect(object.tokens.length).toBe(20);
  expect(object.logprobs.map(({ top }) => top.length)).toEqual(Array(20).fill(2));
  expect(object.adapter.length).toBeGreaterThan(0);
  const { loadMs, prefillMs, decodeMs, prefillTokensPerSecond, decodeTokensPerSecond } =
    object.timings;
  for (const ms of [loadMs, prefillMs, decodeMs]) expect(ms).toBeGreaterThan(0);
  expect(prefillTokensPerSecond).toBeCloseTo(5000 / prefillMs!, 6);
  expect(decodeTokensPerSecond).toBeCloseTo(19000 / decodeMs!, 6);
});

test("the shipped model goes on past its context where attention forgets, from stdin, to an interrupt", async () => {
  const stream = [
    "--attention",
    "sinks:4+60",
    "--max-tokens",
    "700",
    "--ignore-eos",
    "--seed",
    "1",
  ];
  const { text, stderr } = await succeed(["generate", "-", ...stream], {
    input: "Once upon a time",
  });
  expect(text).toMatch(/^Once upon a time/);
  expect(text.length).toBeGreaterThan(1200);
  expect(stderr).toEqual([expect.stringContaining("| 700 tokens")]);
});

test("Ctrl-C ends a generation with its timing and status 130", async () => {
  const endless = ["--attention", "sinks:4+60", "--max-tokens", "1000000", "--ignore-eos"];
  const run = await dawnstream(["generate", "Once upon a time", ...small, ...endless], {
    onOutput: (child) => void setTimeout(() => child.kill("SIGINT"), 300),
  });
  expect(run.status).toBe(130);
  expect(run.text).toMatch(/^Once upon a time.*\n$/s);
  expect(run.stderr).toEqual([expect.stringMatching(/^\[load .*\| aborted \|/)]);
});

test("a reader that has seen enough ends a generation quietly", async () => {
  const run = await dawnstream(["generate", "Once upon a time", ...small, "--max-tokens", "400"], {
    onOutput: (child) => child.stdout!.destroy(),
  });
  expect(run.stderr).toEqual([]);
  expect(run.status).toBe(0);
});

test("perplexity --tokens --logits writes a row for every position: llama.cpp's", async () => {
  const golden = JSON.parse(readFileSync(fixture("golden/stories260K-F32.json"), "utf8"));
  const args = ["--tokens", fixture("golden/stories260K-F32.json"), "--logits", at("rows.f32")];
  interface Perplexity {
    readonly perplexity: number;
    readonly nll: readonly number[];
    readonly argmax: readonly number[];
  }
  const scored = await json<Perplexity>(["perplexity", ...small, ...args, "--kv", "f32", "--json"]);
  // As in golden.test.ts.
  expect(Math.abs(scored.perplexity / golden.perplexity - 1)).toBeLessThan(1e-5);
  expect(scored.nll.length).toBe(golden.tokens.length - 1);
  expect(scored.argmax).toEqual(golden.argmax);

  const bytes = readFileSync(at("rows.f32"));
  expect(bytes.length).toBe(golden.tokens.length * golden.vocab * 4);
  const theirs = readFileSync(fixture("golden/stories260K-F32.f32"));
  for (const [row, position] of golden.positions.entries()) {
    const size = golden.vocab * 4;
    const read = (file: Buffer, at: number) =>
      new Float32Array(
        file.buffer.slice(file.byteOffset + at * size, file.byteOffset + (at + 1) * size),
      );
    expect(nmse(read(bytes, position), read(theirs, row)), `row ${position}`).toBeLessThan(1e-8);
  }
});

test("generate, perplexity and bench take every type of the cache", async () => {
  // Long enough for the cache to matter, and the shipped model: heads of whole blocks.
  const text = "Once there was a little dog who liked to run in the park. ".repeat(4);
  writeFileSync(at("dog.txt"), text);
  const found: Record<string, number> = {};
  for (const kv of ["f32", "f16", "q8_0", "q4_0"]) {
    const { perplexity } = await json<{ perplexity: number }>([
      ...["perplexity", at("dog.txt"), "--kv", kv, "--json"],
    ]);
    found[kv] = perplexity;
    await succeed(["generate", text, "--kv", kv, "--max-tokens", "3"]);
    await succeed(["bench", "prefill", "--kv", kv, "--at", "40", "--rounds", "1"]);
    await succeed(["bench", "decode", "--kv", kv, "--at", "40", "--tokens", "4"]);
  }
  expect(new Set(Object.values(found)).size).toBe(4);
  for (const kv of ["f16", "q8_0"])
    expect(Math.abs(found[kv]! / found.f32! - 1)).toBeLessThan(0.02);
});

test("perplexity of a text is that of its chunks, each with BOS in front", async () => {
  const text = "Tom had a red ball. He liked to play with it. ".repeat(12);
  writeFileSync(at("text.txt"), text);
  const args = ["perplexity", at("text.txt"), ...small, "--context", "40", "--chunks", "2"];
  const run = await succeed(args);
  const all = await json<number[]>(["tokenize", text, ...small, "--no-bos", "--json"]);
  expect(all.length).toBeGreaterThan(2 * 39); // else `--chunks` would not be what ends it
  expect(run.stderr.filter((line) => line.includes("chunk "))).toEqual([
    expect.stringMatching(/chunk 1 of 2: perplexity so far \d+\.\d{4}/),
    expect.stringMatching(/chunk 2 of 2: perplexity so far \d+\.\d{4}/),
  ]);
  expect(run.text).toMatch(/^perplexity \d+\.\d{4} over 78 tokens\n$/);
  // A text that says the same again and again: far below 512, far above 1.
  const value = Number(/^perplexity (\S+)/.exec(run.text)![1]);
  expect(value).toBeGreaterThan(1.5);
  expect(value).toBeLessThan(60);
});

test("tokenize and detokenize undo each other", async () => {
  const text = "Héllo, wörld! 你好 🙂\n  two  spaces";
  writeFileSync(at("utf8.txt"), text);
  const ids = await json<number[]>(["tokenize", "--file", at("utf8.txt"), "--json"]);
  expect(ids[0]).toBe(1);
  expect(await json<number[]>(["tokenize", text, "--no-bos", "--json"])).toEqual(ids.slice(1));
  expect(await json<number[]>(["tokenize", "-", "--json"], { input: text })).toEqual(ids);
  expect((await succeed(["detokenize", ...ids.map(String)])).text).toBe(`${text}\n`);
  writeFileSync(at("ids.json"), JSON.stringify(ids));
  expect(await json<string>(["detokenize", "--tokens", at("ids.json"), "--json"])).toBe(text);
  const special = await json<number[]>([
    "tokenize",
    "<s>a",
    "--parse-special",
    "--no-bos",
    "--json",
  ]);
  expect(special[0]).toBe(1);
});

test("inspect shows metadata, tensors, adapter and memory", async () => {
  interface Inspected {
    readonly version: number;
    readonly tensors: readonly { readonly name: string; readonly type: string }[];
    readonly config: { readonly layers: number; readonly width: number };
    readonly memory: { readonly total: number; readonly context: number };
    readonly adapter: string;
  }
  const object = await json<Inspected>(["inspect", "--context", "128", "--json"]);
  expect(object.version).toBe(3);
  expect(object.config).toMatchObject({ layers: 5, width: 256, heads: 8, kvHeads: 4 });
  expect(object.tensors).toContainEqual(
    expect.objectContaining({ name: "output.weight", type: "Q6_K" }),
  );
  expect(object.memory.context).toBe(128);
  const { text } = await succeed(["inspect", "--context", "128"]);
  expect(text).toContain(`memory for a context of 128: ${object.memory.total} bytes`);
  expect(text).toContain(`adapter: ${object.adapter}`);
  expect(text).toContain("token_embd.weight");
});

test("a vocabulary alone is inspected and tokenized with, not run", async () => {
  const vocabulary = at("vocab.gguf");
  const packed = readFileSync(fixture("tokenizers/ggml-vocab-gpt-2.gguf.gz"));
  writeFileSync(vocabulary, gunzipSync(packed));
  const { text } = await succeed(["inspect", vocabulary]);
  expect(text).toContain("tensors (0)");
  expect(text).toMatch(/cannot be run: .+/);
  const ids = await json<number[]>(["tokenize", "Hello world", "--model", vocabulary, "--json"]);
  expect(ids).toEqual([15496, 995]);
  const run = await dawnstream(["generate", "Hello", "--model", vocabulary]);
  expect([run.status, run.text, run.stderr.length]).toEqual([2, "", 1]);
});

test("help and version are no mistakes", async () => {
  expect((await succeed(["--version"])).text).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect((await succeed(["generate", "--help"])).text).toContain("--max-tokens <n>");
  expect((await succeed(["generate", "--help-all"])).text).toContain("--attention <policy>");
});

/** llvmpipe has subgroups as wide as its vectors, which a variable sets; other drivers do not know it. */
test.each([
  ["many tokens at a time", []],
  ["one", ["--chunk", "1"]],
])(
  "subgroups of 4, 8 and 16 give the same likelihoods, %s",
  async (_, options) => {
    const ids = fileURLToPath(
      new URL("../fixtures/golden/tinystories-Q4_K_M.json", import.meta.url),
    );
    const args = ["perplexity", "--tokens", ids, "--kv", "f32", "--json", ...options];
    // Mesa's cache of compiled shaders takes those of one width for those of another: each width has its own.
    const run = (width: string) => {
      const cache = at(`shaders of ${width}`);
      // Compiled as they stand: to optimise all kernels six times takes longer than to run them.
      const env = {
        LP_NATIVE_VECTOR_WIDTH: width,
        MESA_SHADER_CACHE_DIR: cache,
        GALLIVM_PERF: "nopt",
      };
      return json<{ nll: number[]; adapter: string }>(args, { env });
    };
    const [four, eight, sixteen] = [await run("128"), await run("256"), await run("512")];
    if (eight.adapter.includes("llvmpipe")) {
      expect(four.adapter).toContain("subgroups of 4,");
      expect(sixteen.adapter).toContain("subgroups of 16,");
    }
    expect(eight.nll.length).toBeGreaterThan(50);
    for (const [i, nll] of eight.nll.entries()) {
      // Sums of a few hundred products in f32, in other orders.
      expect(Math.abs(four.nll[i]! - nll)).toBeLessThan(2e-4);
      expect(Math.abs(sixteen.nll[i]! - nll)).toBeLessThan(2e-4);
    }
  },
  600_000,
); // the first compiles all kernels three times
