// Texts in files, part by part. The oracle is `readFileSync`.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { UserError } from "../../src/errors.ts";
import { streamText } from "../../src/platform/text.ts";
import { temporaryFolder } from "../support/cli.ts";
import { gather } from "../support/texts.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);

test("a file comes in parts of whole characters that are its text", async () => {
  // Four bytes a character, shifted by one: every part of the file ends within a character.
  writeFileSync(at("emoji.txt"), `a${"🙂".repeat(100_000)}`);
  const parts = await gather(streamText(at("emoji.txt")));
  expect(parts.length).toBeGreaterThan(3);
  for (const part of parts) expect(part).not.toMatch(/\p{Surrogate}/u);
  expect(parts.join("")).toBe(readFileSync(at("emoji.txt"), "utf8"));
});

test("a file that cannot be read, or is no UTF-8 to its end, is one line", async () => {
  writeFileSync(at("latin1.txt"), Buffer.from([0x63, 0x61, 0x66, 0xe9, 0x20]));
  writeFileSync(at("cut.txt"), Buffer.from("🙂").subarray(0, 3));
  for (const [path, message] of [
    [at("none.txt"), /none\.txt: no such file or folder$/],
    [folder, /: it is a directory, not a file$/],
    [at("latin1.txt"), /latin1\.txt: it is not UTF-8 text$/],
    [at("cut.txt"), /cut\.txt: it is not UTF-8 text$/],
  ] as const) {
    const reading = gather(streamText(path));
    await expect(reading).rejects.toThrow(UserError);
    await expect(gather(streamText(path))).rejects.toThrow(message);
  }
});
