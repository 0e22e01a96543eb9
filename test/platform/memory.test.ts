import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { fileMemory, memoryFile } from "../../src/platform/memory.ts";

const folder = await mkdtemp(join(tmpdir(), "dawnstream-memory-"));
afterAll(() => rm(folder, { recursive: true }));

test("numbers outlive the process, each under its name, and a later one replaces an earlier", async () => {
  const path = join(folder, "new", "measured.json");
  const first = fileMemory(path);
  expect(await first.recall("a")).toBeUndefined();
  await first.keep("a", 8);
  await first.keep("b/llvmpipe, 256 bits", 512);
  await first.keep("a", 16);
  const second = fileMemory(path);
  expect([await second.recall("a"), await second.recall("b/llvmpipe, 256 bits")]).toEqual([
    16, 512,
  ]);
  await second.keep("c", 4);
  expect(JSON.parse(await readFile(path, "utf8"))).toEqual({
    a: 16,
    "b/llvmpipe, 256 bits": 512,
    c: 4,
  });
  expect(await readdir(join(folder, "new"))).toEqual(["measured.json"]);
});

test.each(["", "{", "[]", "null", "7", '{"a": "8"}', '{"a": null}'])(
  "a file that holds %j is taken for empty, and replaced",
  async (text) => {
    const path = join(folder, "broken.json");
    await writeFile(path, text);
    expect(await fileMemory(path).recall("a")).toBeUndefined();
    await fileMemory(path).keep("a", 8);
    expect(await fileMemory(path).recall("a")).toBe(8);
  },
);

test("where nothing can be written, numbers are remembered as long as the process lives", async () => {
  const path = join(folder, "taken");
  await mkdir(path);
  for (const place of [path, join(folder, "broken.json", "below-a-file")]) {
    const memory = fileMemory(place);
    await memory.keep("a", 8);
    expect(await memory.recall("a")).toBe(8);
    expect(await fileMemory(place).recall("a")).toBeUndefined();
  }
  expect((await readdir(folder)).sort()).toEqual(["broken.json", "new", "taken"]);
});

test("it lies in the user's cache directory", () => {
  const usual = join(homedir(), ".cache", "dawnstream", "measured.json");
  expect(memoryFile({})).toBe(usual);
  expect(memoryFile({ XDG_CACHE_HOME: "" })).toBe(usual);
  expect(memoryFile({ XDG_CACHE_HOME: "not/absolute" })).toBe(usual);
  expect(memoryFile({ XDG_CACHE_HOME: "/var/cache" })).toBe("/var/cache/dawnstream/measured.json");
});
