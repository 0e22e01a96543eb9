// `dawnstream embed`: texts as vectors, in the order in which they are given.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { dawnstream as cli, temporaryFolder } from "../support/cli.ts";
import { loadEngine } from "../support/engine.ts";
import { encoderRecipe } from "../support/families/encoders.ts";
import { familyModel } from "../support/families/model.ts";

const folder = temporaryFolder();
const bytes = familyModel(encoderRecipe("bert"));
const model = join(folder, "bert.gguf");
writeFileSync(model, bytes);
writeFileSync(join(folder, "text.txt"), "cdab");

interface Printed {
  readonly width: number;
  readonly embeddings: readonly {
    readonly text: string;
    readonly tokens: number;
    readonly vector: readonly number[];
  }[];
}

test("prints vectors of length 1, those of the engine", async () => {
  const file = join(folder, "text.txt");
  const run = await cli(["embed", "ab", "abcd", "--file", file, "--model", model, "--json"]);
  expect(run.status, run.stderr.join()).toBe(0);
  const { width, embeddings } = JSON.parse(run.text) as Printed;
  expect(embeddings.map(({ text }) => text)).toEqual(["ab", "abcd", "cdab"]);
  const engine = await loadEngine(bytes);
  for (const { text, tokens, vector } of embeddings) {
    expect(tokens).toBe(engine.tokenize(text).length);
    expect(vector.length).toBe(width);
    expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    for (const [i, value] of (await engine.embed(text)).entries()) {
      expect(vector[i]).toBeCloseTo(value, 5);
    }
  }
  await engine.close();
  const lines = await cli(["embed", "ab", "abcd", "--model", model]);
  const rows = lines.text.trim().split("\n");
  expect(rows.length).toBe(2);
  expect(rows[0]!.split(" ").length).toBe(width);
});

test("an encoder generates nothing, and sees whole texts", async () => {
  const generated = await cli(["generate", "ab", "--model", model]);
  expect(generated.status).toBe(2);
  expect(generated.stderr.join()).toContain(
    "error: tiny is an encoder: it turns texts into vectors (embed)",
  );
  const windowed = await cli(["embed", "ab", "--model", model, "--attention", "window:4"]);
  expect(windowed.status).toBe(2);
  expect(windowed.stderr.join()).toContain(
    'error: Invalid --attention "window:4": tiny is an encoder',
  );
});
