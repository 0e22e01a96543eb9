// A user's mistake is one line on stderr, status 2, and nothing on stdout; nothing is left half done.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { dawnstream, fail, temporaryFolder } from "../support/cli.ts";
import { fixtureModel } from "../support/models.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const model = fixtureModel("stories260K-Q8_0.gguf");
const bytes = readFileSync(model);
writeFileSync(at("text.gguf"), "Once upon a time, there was a text file.");
writeFileSync(at("empty.gguf"), "");
writeFileSync(at("header.gguf"), bytes.subarray(0, 5000));
writeFileSync(at("data.gguf"), bytes.subarray(0, bytes.length - 1000));
writeFileSync(at("latin1.txt"), Buffer.from([0x63, 0x61, 0x66, 0xe9]));
writeFileSync(at("short.txt"), "a");
writeFileSync(at("ids.json"), "[1, 2, 3]");
writeFileSync(at("many.json"), JSON.stringify(Array.from({ length: 40 }, () => 5)));
writeFileSync(at("one.json"), "[1]");
writeFileSync(at("words.json"), '["a", "b"]');
writeFileSync(at("broken.json"), "[1, 2");
writeFileSync(at("foreign.json"), "[1, 99999]");
mkdirSync(at("folder"));

/** What a user types after `generate "Once upon a time"`, and what the line says. */
const generate: [string[], RegExp][] = [
  [["--frobnicate"], /unknown option '--frobnicate'/],
  [["--max-token", "5"], /unknown option '--max-token' \(Did you mean --max-tokens\?\)/],
  [["--fro\nbnicate"], /unknown option/],
  [["and", "more"], /too many arguments/],
  [["--max-tokens", "0"], /--max-tokens 0: expected a whole number from 1/],
  [["--max-tokens", "-3"], /--max-tokens -3/],
  [["--max-tokens", "many"], /--max-tokens <n>' argument 'many'.*whole number/],
  [["--max-tokens", "1.5"], /whole number/],
  [["--max-tokens"], /argument missing/],
  [["--max-tokens", "600"], /5 tokens and 600 to generate exceed the context of 512.*605.*window/],
  [["--context", "0"], /context 0/],
  [["--context", "-1"], /context -1/],
  [["--context", "4", "--max-tokens", "1"], /5 tokens and 1 to generate exceed the context of 4/],
  [["--context", "99999999999"], /context 99999999999/],
  [["--chunk", "0"], /chunk 0/],
  [["--page", "0"], /--page 0/],
  [["--page", "2000"], /--page 2000: expected a whole number from 1 to 1024/],
  [["--kv", "q8"], /Invalid --kv "q8": expected one of f32, f16, q8_0, q4_0; did you mean q8_0\?$/],
  [["--kv", "q9"], /Invalid --kv "q9": expected one of f32, f16, q8_0, q4_0\.$/],
  [["--keys", "Raw"], /Invalid --keys "Raw": expected one of rotated, raw; did you mean raw\?$/],
  [["--kv", "q4_0"], /q4_0 pages need heads of a multiple of 32 numbers; this model's have 8: use/],
  [
    ["--attention", "window"],
    /Invalid --attention "window": expected full, window:W or sinks:S\+W/,
  ],
  [["--attention", "window:0"], /Invalid --attention "window:0"/],
  [["--attention", "sinks:4"], /Invalid --attention/],
  [["--attention", "sinks:-1+4"], /Invalid --attention/],
  [["--attention", "window:99999999999"], /The model takes \d+\.\d+ GB .*cache.*memory left/],
  [["--attention", "sink:4+60"], /Invalid --attention "sink:4\+60".*; did you mean sinks\?$/],
  [["--when-full", "stopp"], /Invalid --when-full "stopp".*; did you mean stop\?$/],
  [
    ["--when-full", "stop", "--attention", "window:60"],
    /Invalid --when-full "stop": attention window:60 forgets.*leave it out, or the attention\.$/,
  ],
  [["--rope", "yarm:4"], /Invalid --rope "yarm:4".*; did you mean yarn\?$/],
  [["--rope", "yarn"], /Invalid --rope/],
  [["--rope", "linear:0.5"], /Invalid --rope/],
  [["--rope", "linear:1:512"], /Invalid --rope/],
  [["--rope", "yarn:4:0"], /Invalid --rope/],
  [["--temperature", "-1"], /Invalid --temperature -1/],
  [["--temperature", "warm"], /'warm' is invalid. Expected a number/],
  [["--temperature", "1e999"], /Invalid --temperature Infinity/],
  [["--top-p", "2"], /Invalid --top-p 2: expected a number from 0 to 1/],
  [["--top-k", "-1"], /Invalid --top-k -1/],
  [["--seed", "-1"], /Invalid --seed -1/],
  [["--seed", "99999999999999999999"], /Invalid --seed/],
  [["--stop", ""], /stop string is empty/],
  [["--logprobs", "-1", "--json"], /--logprobs -1/],
  [["--logprobs", "3"], /--logprobs is printed by --json: give both, or neither/],
  [["--logit-bias", "5"], /Expected ID=BIAS/],
  [["--logit-bias", "5=heavy"], /Expected a number/],
  [["--logit-bias", "512=1"], /token id of logitBias 512: expected a whole number from 0 to 511/],
  [["--model", "none.gguf"], /none\.gguf: no such file/],
  [["--model", "no\nne.gguf"], /no such file/],
  [["--model", at("folder")], /it is a directory, not a file/],
  [["--model", "/dev/null"], /device or a pipe/],
  [["--model", at("text.gguf")], /text\.gguf.*GGUF/],
  [["--model", at("empty.gguf")], /empty\.gguf/],
  [["--model", at("header.gguf")], /header\.gguf/],
  [["--model", at("data.gguf")], /data\.gguf/],
];

describe("generate", () => {
  test.concurrent.each(generate)("%j", async (flags, message) => {
    const first = flags.includes("--model") ? [] : ["--model", model];
    await fail(["generate", "Once upon a time", ...first, ...flags], message);
  });

  test.concurrent.each([
    [[], /No text: give TEXT/],
    [[""], /The prompt is empty/],
    [["-"], /The prompt is empty/],
    [["<s>", "--parse-special"], /special tokens only/],
    [["<s></s>", "--parse-special"], /special tokens only/],
  ] as [string[], RegExp][])("prompt %j", async (words, message) => {
    await fail(["generate", ...words, "--model", model], message);
  });
});

const others: [string[], RegExp][] = [
  [["frobnicate"], /unknown command 'frobnicate'/],
  [["inspect", at("header.gguf"), "-m", model], /either FILE or --model FILE/],
  [["plan", "--kv", "f16,q4"], /Invalid --kv "q4": .*; did you mean q4_0\?$/],
  [["bench", "cache", "--policies", "windw:4"], /Invalid --policies "windw:4".*mean window\?$/],
  [["bench", "kernels", "--kernel", "matvek"], /no kernel "matvek".*; did you mean matvec\?$/],
  [["bench", "kernels", "--format", "Q4K"], /format "Q4K".*; did you mean Q4_K\?$/],
  [["stream", at("short.txt"), "--policies", "recomput:9"], /"recomput:9".*mean recompute\?$/],
  [["rope", at("short.txt"), "--methods", "none,lineer:2"], /--methods "lineer:2".*linear\?$/],
  [["ask", "Who?", "--index", "a", "--mode", "bm2"], /--mode "bm2".*; did you mean bm25\?$/],
  [["index", "a", "--out", at("b"), "--pooling", "men"], /--pooling "men".*; did you mean mean\?$/],
  [["chat", "--memory", "bufer"], /Invalid --memory "bufer".*; did you mean buffer\?$/],
  [["chat", "--template", "chat-ml"], /no chat template "chat-ml".*; did you mean chatml\?$/],
  [["plan", model], /either FILE or --model FILE/],
  [["tokenize"], /No text: give TEXT, --file FILE, or a text by a pipe/],
  [["tokenize", "a", "--file", "b"], /either TEXT or --file FILE/],
  [["tokenize", "--file", at("none.txt")], /none\.txt: no such file/],
  [["tokenize", "--file", at("folder")], /it is a directory/],
  [["tokenize", "--file", at("latin1.txt")], /not UTF-8/],
  [["detokenize"], /token ids or --tokens/],
  [["detokenize", "1", "--tokens", at("ids.json")], /token ids or --tokens/],
  [["detokenize", "one"], /"one" is no token id/],
  [["detokenize", "1.5"], /"1\.5" is no token id/],
  [["detokenize", "512"], /Token id 512 is not in the vocabulary/],
  [["detokenize", "--tokens", at("broken.json")], /not JSON/],
  [["detokenize", "--tokens", at("words.json")], /expected a JSON array of token ids/],
  [["inspect", "--context", "-5"], /context -5/],
  [["inspect", at("text.gguf")], /text\.gguf/],
  [["inspect", at("header.gguf")], /header\.gguf/],
  [["perplexity"], /No text: give FILE/],
  [["perplexity", at("short.txt"), "--tokens", at("ids.json")], /either a text or --tokens/],
  [["perplexity", at("none.txt")], /no such file/],
  [["perplexity", at("latin1.txt")], /not UTF-8/],
  [["perplexity", at("short.txt"), "--chunks", "0"], /--chunks 0/],
  [["perplexity", at("ids.json"), "--context", "1"], /context of 1 leaves no room/],
  [["perplexity", "--tokens", at("one.json")], /1 tokens cannot be scored/],
  [["perplexity", "--tokens", at("foreign.json")], /Token id 99999 is none of the model's 512/],
  [["perplexity", "--tokens", at("many.json"), "--context", "39"], /40 tokens exceed the context/],
];

/** Commands that take none, or that get theirs above. */
const NO_MODEL = ["inspect", "frobnicate"];

test.concurrent.each(others)("%j", async (args, message) => {
  await fail(
    [...args, ...(NO_MODEL.includes(args[0]!) || args[1] === "kernels" ? [] : ["--model", model])],
    message,
  );
});

test("a folder that is not there takes no logits, and none are left behind", async () => {
  const rows = at("none/rows.f32");
  const args = ["perplexity", "--tokens", at("ids.json"), "--model", model, "--logits", rows];
  await fail(args, /Cannot write .*none\/rows\.f32/);
  const early = at("early.f32");
  await fail(["perplexity", "--tokens", at("foreign.json"), "--logits", early], /99999/);
  expect(existsSync(early)).toBe(false);
});

/** The Vulkan loader finds no driver where this is what it is told to look at. */
const NO_DRIVER = { VK_DRIVER_FILES: "/nonexistent.json", VK_ICD_FILENAMES: "/nonexistent.json" };

test("without an adapter, commands name the set-up; those that need none work", async () => {
  const options = { env: NO_DRIVER };
  await fail(["generate", "Once upon a time"], /npm run setup/, options);
  await fail(["perplexity", "--tokens", at("ids.json")], /npm run setup/, options);
  const tokens = await dawnstream(["tokenize", "Once upon a time", "--json"], options);
  expect(tokens.text).toBe("[1,403,407,261,378]\n");
  const inspected = await dawnstream(["inspect"], options);
  expect(inspected.text).toContain("adapter: none; run `npm run setup`");
  expect(inspected.status).toBe(0);
});
