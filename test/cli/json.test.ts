// Numbers that JSON does not have: commands print them as texts, which Number reads.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { fromJson, toJson } from "../../src/cli/reports/json.ts";
import { json, temporaryFolder } from "../support/cli.ts";
import { fixtureModel } from "../support/models.ts";

const folder = temporaryFolder();
const stories = fileURLToPath(new URL("../fixtures/text/stories.txt", import.meta.url));
const small = ["--model", fixtureModel("stories260K-F32.gguf")];

test("what is not finite is a text, at any depth, and is read back", () => {
  const value = { a: [1, Number.POSITIVE_INFINITY], b: { c: Number.NEGATIVE_INFINITY }, d: -0.5 };
  expect(toJson(value)).toBe('{"a":[1,"Infinity"],"b":{"c":"-Infinity"},"d":-0.5}');
  expect(fromJson(toJson(value))).toEqual(value);
  expect(toJson(Number.NaN)).toBe('"NaN"');
  expect(Number(JSON.parse(toJson(Number.NEGATIVE_INFINITY)))).toBe(Number.NEGATIVE_INFINITY);
  expect(toJson([null, "null"], 1)).toBe('[\n null,\n "null"\n]');
});

test("rope --json prints the perplexity of a broken model, which is infinite", async () => {
  const args = ["rope", stories, ...small, "--methods", "none", "--lengths", "64", "--trials", "0"];
  const kept = [...args, "--keep", folder, "--json"];
  await json(kept);
  const [cell] = readdirSync(folder);
  const result = JSON.parse(readFileSync(join(folder, cell!), "utf8"));
  writeFileSync(join(folder, cell!), toJson({ ...result, value: Number.POSITIVE_INFINITY }));
  const { results } = await json<{ results: { value: unknown }[] }>(kept);
  expect(results.map(({ value }) => value)).toEqual(["Infinity"]);
});
