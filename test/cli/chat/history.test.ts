// The file of what was entered in chats: where it is, what it holds, what several chats make of it, and what if it cannot be.

import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import {
  ChatHistory,
  historyFile,
  joinHistories,
  parseHistory,
  writeHistory,
} from "../../../src/cli/chat/history.ts";
import { temporaryFolder } from "../../support/cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);
const read = (path: string) => parseHistory(readFileSync(path, "utf8"));
const open = (path: string) => ChatHistory.open(() => path);

afterEach(() => vi.restoreAllMocks());

/** What is said on stderr from now on. */
function said(): string[] {
  const lines: string[] = [];
  vi.spyOn(process.stderr, "write").mockImplementation((text) => lines.push(String(text)) > 0);
  return lines;
}

test("the file is where the XDG Base Directory Specification has it", () => {
  expect(historyFile({ XDG_STATE_HOME: "/state" })).toBe("/state/dawnstream/chat-history");
  const usual = join(homedir(), ".local/state/dawnstream/chat-history");
  for (const chosen of ["", "relative", undefined]) {
    expect(historyFile({ XDG_STATE_HOME: chosen })).toBe(usual);
  }
});

test("entries of several lines survive, in a file that only the user reads", async () => {
  const path = at("a/b/c/chat-history");
  const entries = ["one", 'two\nlines\\ "quoted"\t', "/set temperature 0", "é 😀 \ud800"];
  const history = await open(path);
  for (const entry of entries) await history.add(entry);
  expect(read(path)).toEqual(entries);
  expect((await open(path)).entries).toEqual(entries.toReversed());
  expect(modeOf(path)).toBe("600");
  expect(modeOf(at("a/b/c"))).toBe("700");
  // The one that is there may be anybody's.
  chmodSync(path, 0o644);
  await history.add("three");
  expect(modeOf(path)).toBe("600");
});

test("a text is kept once, where it was entered last", () => {
  expect(joinHistories(["a", "b", "a", "c"], ["b", "d"])).toEqual(["a", "c", "b", "d"]);
});

test("the newest entries are kept, and none that is too large", async () => {
  const many = Array.from({ length: 1500 }, (_, i) => `entry ${i}`);
  expect(joinHistories(many, ["last"])).toEqual([...many.slice(501), "last"]);
  const large = Array.from({ length: 12 }, (_, i) => `${i}`.padEnd(100_000, "."));
  expect(joinHistories(large, [])).toEqual(large.slice(-5));
  expect(joinHistories(["a", ".".repeat(1e6)], ["b"])).toEqual(["a", "b"]);
  const path = at("large");
  writeFileSync(path, writeHistory(large));
  const history = await open(path);
  for (const entry of ["a", ".".repeat(1e6)]) await history.add(entry);
  expect(read(path)).toEqual([...large.slice(-5), "a"]);
});

test("lines that are no entries are left out, and control characters of entries", () => {
  const damaged = `"one"\n"tw\n[1]\n\n\0\0"\nnull\n${writeHistory(["three\x1b[2J\nfour"])}`;
  expect(parseHistory(damaged)).toEqual(["one", "three[2J\nfour"]);
});

test("two chats, one after the other or at once, lose nothing of each other's", async () => {
  const path = at("shared");
  const [first, second] = [await open(path), await open(path)];
  await first.add("first 1");
  await second.add("second 1");
  await first.add("first 2");
  expect(read(path)).toEqual(["second 1", "first 1", "first 2"]);
  const chats = await Promise.all([1, 2, 3].map(() => open(path)));
  for (let turn = 0; turn < 3; turn++) {
    await Promise.all(chats.map((chat, i) => chat.add(`chat ${i}, turn ${turn}`)));
  }
  // Each writes all of its own and what it has found, what others have overwritten among it.
  for (const [i, chat] of chats.entries()) await chat.add(`bye ${i}`);
  const found = new Set(read(path));
  for (const entry of ["second 1", "first 1", "first 2"]) expect(found).toContain(entry);
  for (let turn = 0; turn < 3; turn++) {
    for (const i of chats.keys()) expect(found).toContain(`chat ${i}, turn ${turn}`);
  }
});

test("a file that cannot be written or read is told once, and the history of the chat stays", async () => {
  writeFileSync(at("file"), "");
  mkdirSync(at("folder"));
  for (const [path, why] of [
    [at("file/dawnstream/chat-history"), /: Cannot read .*: no such file or folder\.\n$/],
    ["/proc/none/dawnstream/chat-history", /: Cannot write .*: no such file or folder\.\n$/],
    [at("folder"), /: .*folder is no regular file\.\n$/],
  ] as const) {
    const lines = said();
    const history = await open(path);
    await history.add("one");
    await history.add("two");
    expect(history.entries).toEqual(["two", "one"]);
    expect(lines).toEqual([expect.stringMatching(why)]);
    expect(lines[0]).toMatch(/^warning: The history of chats is not kept: /);
    vi.restoreAllMocks();
  }
  const lines = said();
  await ChatHistory.open(() => {
    throw Object.assign(new Error("uv_os_homedir returned ENOENT"), { code: "ENOENT" });
  });
  expect(lines).toHaveLength(1);
});

test("nothing is kept in no file, and nothing in /dev/null", async () => {
  const lines = said();
  const history = await ChatHistory.open();
  await history.add("one");
  expect(history.entries).toEqual(["one"]);
  symlinkSync("/dev/null", at("null"));
  const nowhere = await open(at("null"));
  await nowhere.add("one");
  expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  expect(lines).toEqual([]);
});
