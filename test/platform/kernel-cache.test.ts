import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { noKernelCache } from "../../src/platform/kernel-cache.ts";

const folder = await mkdtemp(join(tmpdir(), "dawnstream-cache-"));
afterAll(() => rm(folder, { recursive: true }));

test("a folder that Mesa has made is a cache, wherever Mesa's variables put it", async () => {
  await mkdir(join(folder, "mesa_shader_cache_db"));
  await mkdir(join(folder, ".cache", "mesa_shader_cache"), { recursive: true });
  expect(noKernelCache({ MESA_SHADER_CACHE_DIR: folder })).toBeUndefined();
  expect(noKernelCache({ XDG_CACHE_HOME: folder })).toBeUndefined();
});

test("without it the folder is named, and the variable that moves it", async () => {
  const file = join(folder, "file"); // in which there can be no folder, for root either
  await writeFile(file, "");
  expect(noKernelCache({ XDG_CACHE_HOME: file })).toBe(
    `The driver cannot keep compiled kernels in ${file}, so every start compiles them again: ` +
      "set XDG_CACHE_HOME to a folder that can be written to.",
  );
  expect(noKernelCache({ MESA_SHADER_CACHE_DIR: file, XDG_CACHE_HOME: folder })).toMatch(
    /set MESA_SHADER_CACHE_DIR to/,
  );
});

test("who has turned the cache off is not told that it is off", () => {
  const env = { XDG_CACHE_HOME: "/dev/null", MESA_SHADER_CACHE_DISABLE: "true" };
  expect(noKernelCache(env)).toBeUndefined();
});
