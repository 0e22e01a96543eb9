// Files that a user names.

import { readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { UserError } from "../errors.ts";

/** The bytes of a file, or a `UserError` that says in one line why not. */
export async function readBytes(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new UserError(`Cannot read ${path}: ${reasonOf(error)}.`);
  }
}

async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Why the system would not. */
function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const reasons: Record<string, string> = {
    ENOENT: "no such file or folder",
    ENOTDIR: "no such file or folder",
    EISDIR: "it is a directory",
    EACCES: "permission denied",
    ENOSPC: "no space left",
  };
  return reasons[code ?? ""] ?? message;
}

/** The text of a UTF-8 file; "-" is stdin. */
export async function readText(path: string): Promise<string> {
  const bytes = path === "-" ? await readStdin() : await readBytes(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new UserError(`Cannot read ${nameOf(path)}: it is not UTF-8 text.`);
  }
}

/** What people call a file. */
export function nameOf(path: string): string {
  return path === "-" ? "stdin" : path;
}

/** What `read` makes of a UTF-8 file; its `UserError` names the file too. */
export async function readUserFile<T>(path: string, read: (text: string) => T): Promise<T> {
  const text = await readText(path);
  try {
    return read(text);
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${nameOf(path)}: ${error.message}`);
    throw error;
  }
}

/** A JSON array of token ids, or an object whose `tokens` is one. */
export async function readTokens(path: string): Promise<number[]> {
  const text = await readText(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UserError(`Cannot read ${path}: it is not JSON (${(error as Error).message}).`);
  }
  const ids = Array.isArray(value) ? value : (value as { tokens?: unknown } | null)?.tokens;
  if (!Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id) && id >= 0)) {
    throw new UserError(
      `${path}: expected a JSON array of token ids, or an object with one named "tokens".`,
    );
  }
  return ids as number[];
}

/** Writes a file, or throws a `UserError` that says in one line why not. */
export async function writeUserFile(path: string, data: string | Uint8Array): Promise<void> {
  try {
    await writeFile(path, data);
  } catch (error) {
    throw new UserError(`Cannot write ${path}: ${reasonOf(error)}.`);
  }
}

/**
 * The same, but that a file that was there before stays until all of the new one is written. What is no file, such as a
 * device, is written to as it is.
 */
export async function replaceUserFile(path: string, data: string | Uint8Array): Promise<void> {
  const target = await realpath(path).catch(() => path);
  const isOther = await stat(target)
    .then((found) => !found.isFile())
    .catch(() => false);
  if (isOther) return writeUserFile(path, data);
  const unfinished = `${target}.${process.pid}.part`;
  try {
    await writeFile(unfinished, data, { flag: "wx" });
    await rename(unfinished, target);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw new UserError(`Cannot write ${path}: ${reasonOf(error)}.`);
  }
}

/** Rows of numbers and plain words as CSV. */
export function writeCsv(
  path: string,
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): Promise<void> {
  return writeUserFile(path, `${[head, ...rows].map((row) => row.join(",")).join("\n")}\n`);
}
