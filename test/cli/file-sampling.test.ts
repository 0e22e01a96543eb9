// `general.sampling.*` of a file are the defaults of sampling. The oracle is the same model without them, and what a user
// types.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { MetadataValue } from "../../src/engine/gguf/gguf.ts";
import { readFileSampling } from "../../src/engine/sampler/file-sampling.ts";
import { UserError } from "../../src/errors.ts";
import { dawnstream, json, succeed, temporaryFolder } from "../support/cli.ts";
import { type MetadataEntry, writeGguf } from "../support/gguf-writer.ts";
import { tinyModel } from "../support/tiny-model.ts";

const folder = temporaryFolder();

/** A model's file with these keys of `general.sampling`. */
function write(name: string, keys: readonly MetadataEntry[]): string {
  const { contents } = tinyModel();
  const named = keys.map(([key, ...rest]): MetadataEntry => [`general.sampling.${key}`, ...rest]);
  const path = join(folder, name);
  writeFileSync(path, writeGguf({ ...contents, metadata: [...contents.metadata!, ...named] }));
  return path;
}

const plain = write("plain.gguf", []);
const advised = write("advised.gguf", [
  ["temp", "f32", 1.7],
  ["top_k", "i32", 7],
  ["top_p", "f32", 0.99],
  ["min_p", "f32", 0.001],
  ["penalty_repeat", "f32", 1.5],
  ["penalty_last_n", "i32", 20],
  ["mirostat", "i32", 2],
  ["xtc_probability", "f32", 0.5],
]);
const TYPED = [
  ...["--temperature", "1.7", "--top-k", "7", "--top-p", "0.99", "--min-p", "0.001"],
  ...["--repeat-penalty", "1.5", "--penalty-last-n", "20"],
];

interface Generated {
  readonly tokens: readonly number[];
}

describe("a model's own options of sampling", () => {
  const tokens = async (model: string, ...flags: readonly string[]) => {
    const args = ["generate", "a", "--model", model, "--max-tokens", "24", "--ignore-eos"];
    const { tokens } = await json<Generated>([...args, "--seed", "5", "--json", ...flags]);
    return tokens;
  };

  test("hold where the user says nothing", async () => {
    const usual = await tokens(plain);
    const expected = await tokens(plain, ...TYPED);
    expect(expected).not.toEqual(usual);
    expect(await tokens(advised)).toEqual(expected);
  });

  test("give way to the user's, one by one", async () => {
    const own = ["--temperature", "0.8", "--top-k", "40", "--top-p", "0.95", "--min-p", "0.05"];
    expect(await tokens(advised, ...own, "--repeat-penalty", "1")).toEqual(await tokens(plain));
    expect(await tokens(advised, "--top-k", "1")).toEqual(
      await tokens(plain, ...TYPED, "--top-k", "1"),
    );
    const greedy = ["--temperature", "0", "--repeat-penalty", "1"];
    expect(await tokens(advised, ...greedy)).toEqual(await tokens(plain, ...greedy));
  });

  test("say nothing to beams", async () => {
    expect(await tokens(advised, "--beams", "2")).toEqual(await tokens(plain, "--beams", "2"));
  });

  test("are shown by inspect, with those that are not used", async () => {
    const { text } = await succeed(["inspect", advised]);
    expect(text).toContain(
      "\nsampling, if not told otherwise: temperature 1.7, topK 7, topP 0.99, minP 0.001, repeatPenalty 1.5, penaltyLastN 20\n" +
        "not used: general.sampling.mirostat\nnot used: general.sampling.xtc_probability\n",
    );
    const { sampling } = await json<{ sampling: unknown }>(["inspect", advised, "--json"]);
    expect(sampling).toEqual({
      options: {
        ...{ temperature: 1.7, topK: 7, topP: 0.99, minP: 0.001 },
        ...{ repeatPenalty: 1.5, penaltyLastN: 20 },
      },
      unused: ["general.sampling.mirostat", "general.sampling.xtc_probability"],
    });
    expect((await succeed(["inspect", plain])).text).not.toContain("sampling");
  });

  test("are what /set shows in a chat", async () => {
    const args = ["chat", "--model", advised, "--template", "chatml", "--top-k", "9"];
    const { text, stderr } = await dawnstream(args, { input: "/set temperature\n/set top-k\n" });
    const all = [text, ...stderr].join("\n");
    expect(all).toMatch(/temperature +1\.7\n/);
    expect(all).toMatch(/top-k +9(\n|$)/);
  });

  test("refuse the file if they are out of range, by the key's name", async () => {
    const wrong = write("wrong.gguf", [["temp", "f32", -1]]);
    const { status, stderr } = await dawnstream(["generate", "a", "--model", wrong]);
    expect([status, stderr.length]).toEqual([2, 1]);
    expect(stderr[0]).toMatch(/general\.sampling\.temp -1: expected a number of at least 0/);
    expect((await succeed(["inspect", wrong])).text).toContain(
      "cannot be run: Invalid general.sampling.temp -1",
    );
  });
});

describe("readFileSampling", () => {
  const read = (key: string, value: MetadataValue) =>
    readFileSampling({
      name: "x.gguf",
      metadata: new Map<string, MetadataValue>([[`general.sampling.${key}`, value]]),
    });

  test.each<[string, MetadataValue, RegExp]>([
    ["temp", -0.5, /temp -0\.5/],
    ["temp", Number.NaN, /temp/],
    ["temp", "hot", /temp .*the string "hot"/],
    ["top_k", -2, /top_k -2/],
    ["top_k", 1.5, /top_k 1\.5/],
    ["top_p", 1.5, /top_p 1\.5/],
    ["min_p", -0.1, /min_p -0\.1/],
    ["penalty_repeat", 0, /penalty_repeat 0/],
    ["penalty_last_n", -2, /penalty_last_n -2/],
  ])("refuses %s of %s", (key, value, message) => {
    expect(() => read(key, value)).toThrow(UserError);
    expect(() => read(key, value)).toThrow(message);
  });

  test.each<[string, number, Record<string, number>]>([
    ["temp", Math.fround(0.6), { temperature: 0.6 }],
    ["temp", 0, { temperature: 0 }],
    ["temp", Math.fround(1 / 3), { temperature: 0.33333334 }],
    ["top_p", 0.123456789012, { topP: 0.123456789012 }],
    ["top_k", 0, { topK: 0 }],
    ["top_k", -1, { topK: 0 }], // all, as many programs spell it
    ["penalty_last_n", -1, { penaltyLastN: -1 }],
  ])("reads %s of %d", (key, value, options) => {
    expect(read(key, value)).toEqual({ options, unused: [] });
  });

  test("names every key that it does not use", () => {
    for (const key of ["sequence", "mirostat_tau", "toString", ""]) {
      expect(read(key, 1)).toEqual({ options: {}, unused: [`general.sampling.${key}`] });
    }
  });
});
