// Who may go on with a file that is incomplete.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { claimDraft, digest, draftsIn, release } from "../../../src/platform/models/drafts.ts";

const top = mkdtempSync(join(tmpdir(), "dawnstream-drafts-"));
afterAll(() => rmSync(top, { recursive: true }));

const KEY = digest("this version");
const OTHER = digest("another version");
const here = digest(hostname()).slice(0, 6);
const elsewhere = digest("another machine").slice(0, 6);

/** A process that has ended, and one that goes on. */
const ended = spawnSync(process.execPath, ["--version"]).pid;
const living = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
afterAll(() => void living.kill());

let folder = "";
let target = "";
beforeEach(() => {
  folder = mkdtempSync(join(top, "test-"));
  target = join(folder, "a.gguf");
});

/** Leaves a draft that was last written to this many seconds ago. */
function leave(text: string, { key = KEY, pid = ended, host = here, age = 0 } = {}): string {
  const path = `${target}.${key}.${pid}-${host}.part`;
  writeFileSync(path, text);
  const time = Date.now() / 1000 - age;
  utimesSync(path, time, time);
  return path;
}

/** Claims a draft, looks at what it has, and lets it go. */
async function claimed(): Promise<string | undefined> {
  const path = await claimDraft(target, KEY);
  if (path === undefined) return undefined;
  const text = readdirSync(folder).includes(basename(path)) ? readFileSync(path, "utf8") : "";
  release(path);
  return text;
}

test("a new one, which is taken until it is released", async () => {
  const path = await claimDraft(target, KEY);
  expect(path).toBe(`${target}.${KEY}.${process.pid}-${here}.part`);
  expect(await claimDraft(target, KEY)).toBeUndefined();
  release(path!);
  expect(await claimDraft(target, KEY)).toBe(path);
  release(path!);
});

test("one that this process has left goes on", async () => {
  leave("mine", { pid: process.pid });
  expect(await claimed()).toBe("mine");
});

test("the longest of those that ended processes have left; others of them go", async () => {
  leave("longest");
  leave("long", { pid: process.pid });
  leave("short", { host: elsewhere, age: 700 });
  leave("of another version", { key: OTHER });
  writeFileSync(`${target}.json`, "{}");
  writeFileSync(join(folder, `b.gguf.${KEY}.${ended}-${here}.part`), "another file's");
  expect(await claimed()).toBe("longest");
  expect(readdirSync(folder).sort()).toEqual([
    `a.gguf.${KEY}.${process.pid}-${here}.part`,
    "a.gguf.json",
    `b.gguf.${KEY}.${ended}-${here}.part`,
  ]);
});

test.each([
  ["a process here", { pid: living.pid! }],
  ["a process on another machine", { host: elsewhere }],
])("that of %s is waited for, then left alone, then taken", async (_, whose) => {
  const path = leave("theirs", whose);
  expect(await claimed()).toBeUndefined();
  expect(readFileSync(path, "utf8")).toBe("theirs");
  leave("theirs", { ...whose, age: 100 });
  expect(await claimed()).toBe("");
  expect(readFileSync(path, "utf8")).toBe("theirs");
  leave("theirs", { ...whose, age: 700 });
  expect(await claimed()).toBe("theirs");
  expect(readdirSync(folder).length).toBe(1);
});

test("that of another version is no reason to wait", async () => {
  const path = leave("theirs", { key: OTHER, pid: living.pid! });
  expect(await claimed()).toBe("");
  expect(readFileSync(path, "utf8")).toBe("theirs");
});

test("all in a folder, and nothing that is none", async () => {
  leave("one");
  leave("another", { pid: living.pid!, key: OTHER });
  writeFileSync(join(folder, "a.gguf.part"), "");
  const drafts = await draftsIn(folder);
  expect(drafts.map(({ bytes, state, target }) => [bytes, state, target]).sort()).toEqual([
    [3, "left", target],
    [7, "busy", target],
  ]);
  expect(await draftsIn(join(folder, "none"))).toEqual([]);
});
