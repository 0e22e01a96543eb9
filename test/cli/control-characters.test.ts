// Control characters in names and tokens of a file reach no terminal and no picture.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { printable, printableLine } from "../../src/cli/terminal/printable.ts";
import { dawnstream, temporaryFolder } from "../support/cli.ts";
import { writeGguf } from "../support/gguf-writer.ts";
import { tinyModel } from "../support/tiny-model.ts";

const folder = temporaryFolder();
const model = join(folder, "model.gguf");
const HOSTILE = "\u001b]0;x\u0007\u009b2J\u007f\ufffe\u202e";
const ESCAPED = "\\u001b]0;x\\u0007\\u009b2J\\u007f\\ufffe\\u202e";
const CONTROL = /(?!\n)[\p{Cc}\ufffe]/u;

const { contents } = tinyModel();
const metadata = (contents.metadata ?? []).map((entry) =>
  entry[0] === "general.name" ? ([entry[0], "string", `${HOSTILE}\nname`] as const) : entry,
);
writeFileSync(
  model,
  writeGguf({ ...contents, metadata: [...metadata, [`key${HOSTILE}`, "string", HOSTILE]] }),
);

test("a report keeps its lines, a name is one line", () => {
  expect(printable("a\tb\r\nc\u001bd\re\u2067f")).toBe("a\tb\r\nc\\u001bd\\u000de\u2067f");
  expect(printableLine(`${HOSTILE}\n\t\u2028`)).toBe(`${ESCAPED}\\u000a\\u0009\\u2028`);
  expect(JSON.parse(printable(JSON.stringify(HOSTILE)))).toBe(HOSTILE);
});

test("inspect escapes keys and values, and its JSON is exact", async () => {
  const plain = await dawnstream(["inspect", "--model", model]);
  expect(plain.text).toContain(`key${ESCAPED}`);
  expect(plain.text).not.toMatch(CONTROL);
  const { text } = await dawnstream(["inspect", "--model", model, "--json"]);
  expect(text).not.toMatch(CONTROL);
  expect(JSON.parse(text).metadata[`key${HOSTILE}`]).toBe(HOSTILE);
});

test.each(["svg", "png"])("a picture .%s is drawn of such a name", async (kind) => {
  const picture = join(folder, `p.${kind}`);
  const run = await dawnstream(["plan", model, "--context", "64", "--plot", picture]);
  expect(run.status).toBe(0);
  if (kind === "svg") expect(readFileSync(picture, "utf8")).not.toMatch(CONTROL);
});

test("an error that quotes a name escapes it", async () => {
  const run = await dawnstream(["inspect", "--model", join(folder, `none${HOSTILE}`)]);
  expect(run.status).toBe(2);
  expect(run.stderr.join("\n")).toContain(ESCAPED);
  expect(run.stderr.join("\n")).not.toMatch(CONTROL);
});
