import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism, homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  measurementsFile,
  fileMeasurements as remember,
  threads,
} from "../../src/platform/measurements.ts";
import { userFile } from "../../src/platform/user-file.ts";

const fileMeasurements = (path: string, machine = "2 threads") => remember(() => path, machine);

const folder = await mkdtemp(join(tmpdir(), "dawnstream-memory-"));
afterAll(() => rm(folder, { recursive: true }));

test("numbers outlive the process, each under its name, and a later one replaces an earlier", async () => {
  const path = join(folder, "new", "measured.json");
  const first = fileMeasurements(path);
  expect(await first.get("a")).toBeUndefined();
  await first.set("a", 8);
  await first.set("b/llvmpipe, 256 bits", 512);
  await first.set("a", 16);
  const second = fileMeasurements(path);
  expect([await second.get("a"), await second.get("b/llvmpipe, 256 bits")]).toEqual([16, 512]);
  await second.set("c", 4);
  expect(JSON.parse(await readFile(path, "utf8"))).toEqual({
    "2 threads/a": 16,
    "2 threads/b/llvmpipe, 256 bits": 512,
    "2 threads/c": 4,
  });
  expect(await readdir(join(folder, "new"))).toEqual(["measured.json"]);
});

test("machines that share a home have numbers of their own", async () => {
  const path = join(folder, "shared.json");
  await fileMeasurements(path, "2 threads").set("a", 4);
  expect(await fileMeasurements(path, "64 threads").get("a")).toBeUndefined();
  await fileMeasurements(path, "64 threads").set("a", 32);
  expect(await fileMeasurements(path, "2 threads").get("a")).toBe(4);
  expect(threads({ LP_NUM_THREADS: "0" })).toBe("0 threads");
  expect(threads({})).toBe(`${availableParallelism()} threads`);
});

test("several writers at once leave a whole file", async () => {
  const path = join(folder, "contended.json");
  const names = Array.from({ length: 8 }, (_, i) => `${i}`.repeat(3000));
  await Promise.all(names.map((name) => fileMeasurements(path).set(name, 7)));
  const found = Object.entries(JSON.parse(await readFile(path, "utf8")) as object);
  expect(found.length).toBeGreaterThan(0);
  for (const [name, value] of found)
    expect([names.includes(name.slice(10)), value]).toEqual([true, 7]);
});

test("where a user has no home, numbers are remembered as long as the process lives", async () => {
  const memory = remember(() => {
    throw new Error("uv_os_homedir returned ENOENT");
  }, "2 threads");
  expect(await memory.get("a")).toBeUndefined();
  await memory.set("a", 8);
  expect(await memory.get("a")).toBe(8);
});

test.each(["", "{", "[]", "null", "7", '{"a": "8"}', '{"a": null}'])(
  "a file that holds %j is taken for empty, and replaced",
  async (text) => {
    const path = join(folder, "broken.json");
    await writeFile(path, text.replace('"a"', '"2 threads/a"'));
    expect(await fileMeasurements(path).get("a")).toBeUndefined();
    await fileMeasurements(path).set("a", 8);
    expect(await fileMeasurements(path).get("a")).toBe(8);
  },
);

test("where nothing can be written, numbers are remembered as long as the process lives", async () => {
  const path = join(folder, "taken");
  await mkdir(path);
  for (const place of [path, join(folder, "broken.json", "below-a-file"), "/proc/none/a/file"]) {
    const memory = fileMeasurements(place);
    await memory.set("a", 8);
    expect(await memory.get("a")).toBe(8);
    expect(await fileMeasurements(place).get("a")).toBeUndefined();
  }
  expect((await readdir(folder)).sort()).toEqual([
    "broken.json",
    "contended.json",
    "new",
    "shared.json",
    "taken",
  ]);
});

test("it lies in the user's cache directory", () => {
  const usual = userFile("cache", "measured.json", {});
  expect(measurementsFile({})).toBe(usual);
  expect(measurementsFile({ XDG_CACHE_HOME: "" })).toBe(usual);
  expect(measurementsFile({ XDG_CACHE_HOME: "not/absolute" })).toBe(usual);
  expect(measurementsFile({ XDG_CACHE_HOME: "/var/cache" })).toBe(
    join("/var/cache", "dawnstream", "measured.json"),
  );
  expect(measurementsFile({ XDG_CACHE_HOME: "/var/cache", DAWNSTREAM_CACHE: "here" })).toBe(
    resolve("here/measured.json"),
  );
});

test("that directory is where each system has it", () => {
  const LOCALAPPDATA = join(homedir(), "AppData/Local");
  const of = (kind: "cache" | "state", system: NodeJS.Platform, env = { LOCALAPPDATA }) =>
    userFile(kind, "a", env, system);
  expect(of("cache", "linux")).toBe(join(homedir(), ".cache/dawnstream/a"));
  expect(of("cache", "darwin")).toBe(join(homedir(), "Library/Caches/dawnstream/a"));
  expect(of("cache", "win32")).toBe(join(LOCALAPPDATA, "dawnstream/a"));
  expect(of("state", "darwin")).toBe(join(homedir(), ".local/state/dawnstream/a"));
});
