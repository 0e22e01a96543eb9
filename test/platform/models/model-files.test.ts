// Which files of a repository a name stands for, against llama.cpp's own choices.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { UserError } from "../../../src/index.ts";
import type { RepositoryFile } from "../../../src/platform/models/hub.ts";
import { chooseFiles, shardNames } from "../../../src/platform/models/model-files.ts";

interface Case {
  readonly files: readonly string[];
  /** By type of weights, "" for none: the files, sorted; none if it refuses. */
  readonly chosen: Readonly<Record<string, readonly string[]>>;
}

const cases = JSON.parse(
  readFileSync(new URL("../../fixtures/hub/llama-cpp-choices.json", import.meta.url), "utf8"),
) as Case[];

const listing = (paths: readonly string[]): RepositoryFile[] =>
  paths
    .filter((path) => path.endsWith(".gguf"))
    .map((path) => ({ path, size: 1, checksum: { kind: "sha256", hex: "0".repeat(64) } }));

/** The paths that are chosen; none if it is refused. */
function choose(paths: readonly string[], more: { quant?: string; file?: string } = {}): string[] {
  try {
    const name = { kind: "hub", repo: "owner/repo", ...more } as const;
    return chooseFiles(listing(paths), name).map(({ path }) => path);
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return [];
  }
}

function refusal(paths: readonly string[], more: { quant?: string; file?: string } = {}): string {
  try {
    chooseFiles(listing(paths), { kind: "hub", repo: "owner/repo", ...more });
  } catch (error) {
    expect((error as Error).message).not.toMatch(/[\r\n]/);
    return (error as Error).message;
  }
  throw new Error("it was not refused");
}

test("as llama.cpp chooses, but that a type which stands by itself comes first", () => {
  const others: string[] = [];
  let same = 0;
  for (const { files, chosen } of cases) {
    for (const [quant, expected] of Object.entries(chosen)) {
      const found = choose(files, quant === "" ? {} : { quant });
      if (JSON.stringify(found.toSorted()) === JSON.stringify(expected)) same++;
      else others.push(`${quant}: ${found[0]}, not ${expected[0]}`);
    }
  }
  expect(same).toBeGreaterThan(130);
  // Ours has the type behind a mark, llama.cpp's within another: F16 of BF16, Q2_K of UD-IQ2_K…
  for (const line of others) {
    const [, quant, ours, theirs] = /^(.+): (\S+), not (\S+)$/.exec(line)!;
    expect(ours!.toLowerCase()).toMatch(new RegExp(`[-./]${quant!.toLowerCase()}[.-]`));
    expect(theirs!.toLowerCase()).not.toMatch(new RegExp(`[-./]${quant!.toLowerCase()}[.-]`));
  }
  expect(others.length).toBeLessThan(5);
});

test("F16 is not BF16", () => {
  expect(choose(["m-BF16.gguf", "m-F16.gguf"], { quant: "F16" })).toEqual(["m-F16.gguf"]);
  expect(choose(["m-BF16.gguf"], { quant: "F16" })).toEqual(["m-BF16.gguf"]); // as llama.cpp
});

test("a type of weights is text, not a pattern", () => {
  expect(choose(["m-Q4xK.gguf"], { quant: "Q4.K" })).toEqual([]);
});

test("the files of a split model are in order, however they are listed", () => {
  const shards = shardNames("a/m-Q4_K_M-00001-of-00012.gguf");
  expect(shards.length).toBe(12);
  expect(shards[11]).toBe("a/m-Q4_K_M-00012-of-00012.gguf");
  expect(choose(shards.toReversed())).toEqual(shards);
  expect(choose(shards, { file: shards[4]! })).toEqual(shards);
});

describe("is refused in a line that says what there is", () => {
  test("a split model with a file missing, or one that promises a hundred thousand", () => {
    const shards = shardNames("m-Q4_K_M-00001-of-00003.gguf");
    expect(refusal(shards.slice(0, 2))).toMatch(/does not have all 3 files of "m-Q4_K_M-00001-of/);
    expect(refusal(["m-00001-of-99999.gguf"])).toMatch(/does not have all 99999 files/);
  });

  test.each([
    ["mmproj-F16.gguf", /is not a model: it is the part of a vision model that reads pictures\.$/],
    ["a/MMPROJ-model.gguf", /is not a model/],
    ["imatrix.gguf", /is not a model: it is statistics/],
    ["mtp-m-Q4_K_M.gguf", /is not a model: it is a part that drafts/],
  ])("%s, which lies beside models", (file, says) => {
    expect(refusal([file, "m-Q8_0.gguf"], { file })).toMatch(says);
    expect(choose([file, "m-Q8_0.gguf"])).toEqual(["m-Q8_0.gguf"]);
    expect(refusal([file])).toMatch(/^hf:owner\/repo has no GGUF model: there are /);
  });

  test("a type that there is not", () => {
    expect(refusal(["m-Q8_0.gguf", "m-F16.gguf"], { quant: "Q4_K_M" })).toBe(
      'hf:owner/repo has no model of "Q4_K_M" weights: there are m-Q8_0.gguf, m-F16.gguf (hf:owner/repo/FILE.gguf names one).',
    );
  });

  test("a misspelt file", () => {
    expect(refusal(["m-Q8_0.gguf", "n-F16.gguf"], { file: "m-Q8_O.gguf" })).toBe(
      'hf:owner/repo has no file "m-Q8_O.gguf"; did you mean m-Q8_0.gguf?',
    );
    expect(choose(["M-Q8_0.gguf"], { file: "m-q8_0.GGUF" })).toEqual(["M-Q8_0.gguf"]);
  });

  test("a repository of many files lists some", () => {
    const many = Array.from({ length: 100 }, (_, i) => `m${i}-F16.gguf`);
    expect(refusal(many, { quant: "Q8_0" })).toMatch(/m11-F16\.gguf and 88 more \(hf:/);
  });
});
