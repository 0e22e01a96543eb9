// What a user types after `npm run bench --`: a mistake is one line and status 2, --help is help.

import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { ROOT } from "../support/build.ts";

function bench(...args: string[]) {
  const words = ["--import", "tsx", "bench/main.ts", ...args];
  return spawnSync(process.execPath, words, { cwd: ROOT, encoding: "utf8" });
}

test.each([
  [["frobnicate"], /no bench "frobnicate": expected one of decode, prefill/],
  [["toString"], /no bench "toString"/],
  [["load", "--frobnicate"], /Unknown option '--frobnicate'/],
  [["load", "--shape"], /--shape <value>' argument missing/],
  [["load", "--shape", "toString"], /--shape "toString": expected one of deep, 134m, 1b, 8b/],
  [["decode", "--rounds", "many"], /--rounds "many": expected a whole number from 1/],
  [["decode", "--engines", "gpu"], /--engines gpu: expected vulkan, cpu/],
  [["prefill", "--prompt", "0"], /--prompt "0": expected a whole number from 1/],
  [["prefill", "--model", "no-such-file.gguf"], /no-such-file\.gguf/],
  [["lesson", "--time", "1.5"], /--time "1.5"/],
  [["retrieval", "--data", "none"], /none/],
  [["lesson", "--shape", "5"], /--shape 5: expected N,K/],
  [["statistics", "--kv", "f8"], /--kv "f8": expected f32, f16, q8_0, q4_0/],
  [["statistics"], /Set PIPELINE_STATISTICS to the file/],
] as [string[], RegExp][])("%j is one line", (args, message) => {
  const { stdout, stderr, status } = bench(...args);
  expect(stderr.trim().split("\n")).toEqual([expect.stringMatching(message)]);
  expect(stderr).toMatch(/^error: /);
  expect(stdout).toBe("");
  expect(status).toBe(2);
});

test.each([["--help"], ["load", "--help"], ["decode", "-h", "--save"]])("%s %s %s", (...args) => {
  const { stdout, stderr, status } = bench(...args.filter((word) => word !== undefined));
  expect(stdout).toMatch(/^usage: npm run bench -- /);
  expect(stderr).toBe("");
  expect(status).toBe(0);
});
