// Files that a user names.

import { readFile } from "node:fs/promises";
import { UserError } from "../errors.ts";
import { reason } from "../platform/file.ts";
import { writeWholeFile } from "../platform/write-file.ts";

/** The bytes of a file, or a `UserError` that says in one line why not. */
export async function readBytes(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new UserError(`Cannot read ${path}: ${reason(error)}.`);
  }
}

async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
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

/** Rows of numbers and plain words as CSV. */
export function writeCsv(
  path: string,
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): Promise<void> {
  return writeWholeFile(path, `${[head, ...rows].map((row) => row.join(",")).join("\n")}\n`);
}
