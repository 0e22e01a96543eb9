// Files that are written whole or not at all.

import { execFile } from "node:child_process";
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeEach, expect, test } from "vitest";
import { UserError } from "../../src/errors.ts";
import { NewFile, writeWholeFile } from "../../src/platform/write-file.ts";
import { ROOT } from "../support/build.ts";

const top = await mkdtemp(join(tmpdir(), "dawnstream-write-"));
afterAll(() => rm(top, { recursive: true }));

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(top, "test-"));
});
const at = (name: string) => join(folder, name);
const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

async function refused(promise: Promise<unknown>, message: RegExp): Promise<void> {
  const error = await promise.catch((found: unknown) => found);
  expect(error).toBeInstanceOf(UserError);
  expect((error as Error).message).toMatch(message);
}

test("the old file stays until the new one is whole, and its mode after that", async () => {
  await writeFile(at("a"), "old", { mode: 0o600 });
  const file = await NewFile.create(at("a"));
  await file.write("new ");
  await file.write(new Uint8Array([104, 105]));
  expect(await readFile(at("a"), "utf8")).toBe("old");
  const [draft] = (await readdir(folder)).filter((name) => name !== "a");
  expect(await modeOf(at(draft!))).toBe(0o600);
  await file.commit();
  expect(await readFile(at("a"), "utf8")).toBe("new hi");
  expect(await modeOf(at("a"))).toBe(0o600);
  expect(await readdir(folder)).toEqual(["a"]);
});

test.each([0o644, 0o640, 0o777, 0o604])("mode %o is kept", async (mode) => {
  await writeFile(at("a"), "");
  await chmod(at("a"), mode);
  await writeWholeFile(at("a"), "new");
  expect(await modeOf(at("a"))).toBe(mode);
});

test("a new file has the mode that the user's mask leaves", async () => {
  await writeFile(at("theirs"), "");
  await writeWholeFile(at("ours"), "new");
  expect(await modeOf(at("ours"))).toBe(await modeOf(at("theirs")));
});

const isRoot = process.geteuid?.() === 0;
if (!isRoot)
  console.warn("SKIPPED: root leaves a file to its owner, for only root gives files away.");
test.runIf(isRoot)("root leaves a file to its owner", async () => {
  await writeFile(at("a"), "");
  await chown(at("a"), 1234, 5678);
  await writeWholeFile(at("a"), "new");
  expect(await stat(at("a"))).toMatchObject({ uid: 1234, gid: 5678 });
});

test("what is discarded leaves the old file, or none", async () => {
  await writeFile(at("a"), "old");
  for (const name of ["a", "b"]) {
    const file = await NewFile.create(at(name));
    await file.write("half");
    await file.discard();
  }
  expect(await readdir(folder)).toEqual(["a"]);
  expect(await readFile(at("a"), "utf8")).toBe("old");
});

test("a link stays, and the file it leads to is replaced or made", async () => {
  await mkdir(at("far"));
  await writeFile(at("far/old"), "old", { mode: 0o600 });
  await symlink("far/old", at("link"));
  await symlink("link", at("second"));
  await symlink("far", at("place"));
  await symlink("../far/none", at("far/dangling"));
  await writeWholeFile(at("second"), "new");
  expect(await readFile(at("far/old"), "utf8")).toBe("new");
  expect(await modeOf(at("far/old"))).toBe(0o600);
  await writeWholeFile(at("place/dangling"), "made");
  expect(await readFile(at("far/none"), "utf8")).toBe("made");
  for (const name of ["link", "second", "far/dangling"])
    expect((await lstat(at(name))).isSymbolicLink(), name).toBe(true);
  expect((await readdir(at("far"))).sort()).toEqual(["dangling", "none", "old"]);
});

test("links under names that others may guess are not followed", async () => {
  await writeFile(at("precious"), "precious");
  for (const suffix of [".new", ".part", ".tmp", `.${process.pid}.part`])
    await symlink("precious", at(`a${suffix}`));
  await writeWholeFile(at("a"), "new");
  expect(await readFile(at("precious"), "utf8")).toBe("precious");
  expect(await readFile(at("a"), "utf8")).toBe("new");
});

test("a name as long as a folder takes can be written", async () => {
  const name = "x".repeat(255);
  await writeWholeFile(at(name), "long");
  expect(await readFile(at(name), "utf8")).toBe("long");
});

test("what cannot be written is said in one line", async () => {
  await symlink("circle", at("circle"));
  await refused(writeWholeFile(folder, ""), /Cannot write .*: it is a directory/);
  await refused(writeWholeFile(at("none/a"), ""), /Cannot write .*none\/a: no such file or folder/);
  await refused(writeWholeFile(at("circle"), ""), /links lead in a circle/);
  await refused(writeWholeFile(at("x".repeat(256)), ""), /the name is too long/);
  expect(await readdir(folder)).toEqual(["circle"]);
});

const isLinux = process.platform === "linux";
if (!isLinux)
  console.warn("SKIPPED: a device is written to as it is, for only Linux has /dev/full.");
test.runIf(isLinux)("a device is written to as it is", async () => {
  await writeWholeFile("/dev/null", "gone");
  await refused(writeWholeFile("/dev/full", "no room"), /Cannot write \/dev\/full: no space left/);
  expect((await lstat("/dev/null")).isCharacterDevice()).toBe(true);
});

/** Runs a script in a process that may write files of 64 KiB at most, which fails as a full disk does. */
function inASmallProcess(script: string): Promise<{ stdout: string }> {
  const code = `import { NewFile, writeWholeFile } from ${JSON.stringify(`${ROOT}/src/platform/write-file.ts`)};
${script}`;
  const shell = 'ulimit -f "$1" && exec "$2" --import tsx --input-type=module --eval "$3" "$4"';
  const blocks = `${64 * 2}`; // of 512 bytes
  const args = ["-c", shell, "sh", blocks, process.execPath, code, at("a")];
  // tsx would keep what it compiles in files that are larger.
  const env = { ...process.env, TSX_DISABLE_CACHE: "1" };
  return promisify(execFile)("sh", args, { cwd: ROOT, env });
}

test("a disk that is full leaves the old file and nothing else", async () => {
  await writeFile(at("a"), "old");
  const { stdout } = await inASmallProcess(`
    const path = process.argv[1];
    await writeWholeFile(path, "x".repeat(200_000)).catch((error) => console.log(error.name, error.message));
    const file = await NewFile.create(path);
    for (let i = 0; i < 100; i++) {
      try { await file.write(new Uint8Array(10_000)); } catch (error) { console.log(i, error.message); await file.discard(); break; }
    }`);
  expect(stdout.trim().split("\n")).toEqual([
    expect.stringMatching(
      /^UserError Cannot write .*\/a: the file would be larger than the system/,
    ),
    expect.stringMatching(/^\d Cannot write .*\/a: the file would be larger than the system/),
  ]);
  expect(await readFile(at("a"), "utf8")).toBe("old");
  expect(await readdir(folder)).toEqual(["a"]);
});

test("a process that exits in the middle leaves the old file and nothing else", async () => {
  await writeFile(at("a"), "old");
  await inASmallProcess(`
    const file = await NewFile.create(process.argv[1]);
    await file.write("half");
    process.exit(0);`);
  expect(await readFile(at("a"), "utf8")).toBe("old");
  expect(await readdir(folder)).toEqual(["a"]);
});

test("a draft that goes on: what an earlier process wrote stays, until it is cleared", async () => {
  await writeFile(at("a"), "old");
  await writeFile(at("a.part"), "begun ");
  for (const [text, then] of [
    ["and ", "keep"],
    ["ended", "commit"],
  ] as const) {
    const file = await NewFile.resume(at("a"), at("a.part"));
    await file.write(text);
    await file[then]();
    expect(await readFile(at("a"), "utf8")).toBe(then === "keep" ? "old" : "begun and ended");
  }
  expect(await readdir(folder)).toEqual(["a"]);
  const file = await NewFile.resume(at("a"), at("a.part"));
  await file.write("wrong");
  expect(await file.length()).toBe(5);
  await file.clear();
  await file.write("right");
  const parts: string[] = [];
  for await (const part of file.written()) parts.push(Buffer.from(part).toString());
  expect(parts.join("")).toBe("right");
  await file.discard();
  expect(await readdir(folder)).toEqual(["a"]);
  await refused(NewFile.resume(at("none/a"), at("none/a.part")), /Cannot write .*no such file/);
});

test("a draft that goes on outlives its process", async () => {
  await inASmallProcess(`
    const path = process.argv[1];
    const file = await NewFile.resume(path, path + ".part");
    await file.write("half");
    process.exit(0);`);
  expect(await readFile(at("a.part"), "utf8")).toBe("half");
  expect(await readdir(folder)).toEqual(["a.part"]);
});

test("many writers at once leave one whole file", async () => {
  const texts = Array.from({ length: 20 }, (_, i) => `${i},`.repeat(30_000));
  await Promise.all(texts.map((text) => writeWholeFile(at("a"), text)));
  expect(texts).toContain(await readFile(at("a"), "utf8"));
  expect(await readdir(folder)).toEqual(["a"]);
});
