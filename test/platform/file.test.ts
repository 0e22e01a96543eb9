import { execFileSync } from "node:child_process";
import { mkdtemp, open, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { UserError } from "../../src/errors.ts";
import { openFile } from "../../src/platform/file.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dawnstream-file-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function expectUserError(promise: Promise<unknown>, message: RegExp): Promise<void> {
  const error = await promise.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(UserError);
  expect((error as UserError).message).toMatch(message);
  expect((error as UserError).message).toContain(folder);
  expect((error as UserError).message).not.toContain("\n");
}

test("reads any range into the array given, and no byte beside it", async () => {
  const path = join(folder, "bytes");
  await writeFile(path, Uint8Array.of(1, 2, 3, 4, 5));
  const file = await openFile(path);
  expect([file.name, file.size]).toEqual([path, 5]);
  const into = new Uint8Array(6).fill(9);
  await file.read(1, into.subarray(2, 5));
  expect(into).toEqual(Uint8Array.of(9, 9, 2, 3, 4, 9));
  await file.read(5, new Uint8Array(0));
  await file.close();
});

test("reads beyond 4 GiB", async () => {
  const path = join(folder, "sparse");
  const at = 5 * 2 ** 30;
  const writer = await open(path, "w");
  await writer.write(Uint8Array.of(7, 8), 0, 2, at);
  await writer.close();
  const file = await openFile(path);
  const into = new Uint8Array(3);
  await file.read(at - 1, into);
  expect([file.size, ...into]).toEqual([at + 2, 0, 7, 8]);
  await file.close();
});

test("refuses a missing file, a folder and a pipe, without waiting", async () => {
  await expectUserError(openFile(join(folder, "absent.gguf")), /absent\.gguf: no such file/);
  await expectUserError(openFile(folder), /a directory, not a file/);
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  await expectUserError(openFile(pipe), /a device or a pipe/);
});

test("a file that is cut while it is open gives an error, not zeros", async () => {
  const path = join(folder, "shrinking");
  await writeFile(path, new Uint8Array(100));
  const file = await openFile(path);
  await truncate(path, 60);
  await expectUserError(file.read(50, new Uint8Array(50)), /ends at byte 60, and 40 more/);
  await file.close();
});

test("a read that fails says where", async () => {
  const path = join(folder, "closed");
  await writeFile(path, new Uint8Array(8));
  const file = await openFile(path);
  await file.close();
  await expectUserError(file.read(4, new Uint8Array(4)), /reading at byte 4 failed: /);
});
