// Cells of a long measurement: each is computed once and kept in a file of its own, so that a stopped sweep goes on where it
// was, and several that run at once in one folder find each other's cells and lose none.

import { createHash } from "node:crypto";
import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../errors.ts";
import { reason } from "../../platform/file.ts";
import { writeWholeFile } from "../../platform/write-file.ts";
import { fromJson, toJson } from "../reports/json.ts";
import { progress } from "../terminal/terminal.ts";

export interface Cell<T> {
  /** What the result depends on, model and text included. */
  readonly key: string;
  readonly compute: () => Promise<T>;
}

/** A short name for what a result depends on. */
export function fingerprint(...parts: readonly unknown[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
}

/** A name for a file's content that costs no reading: path, size and time of change. */
export async function fileIdentity(path: string): Promise<string> {
  const { size, mtimeMs } = await stat(path);
  return fingerprint(path, size, mtimeMs);
}

/**
 * Computes cells in order. Those that the folder `keep` holds are not computed again, and each new one is put into it at
 * once. On a terminal a bar shows the time left. A raised signal ends the sweep between two cells; what there is so far
 * is returned. Throws a `UserError` if the folder cannot be used.
 */
export async function sweep<T extends object>(
  cells: readonly Cell<T>[],
  keep: string,
  signal: AbortSignal,
): Promise<(T | undefined)[]> {
  await makeFolder(keep);
  const fileOf = ({ key }: Cell<T>) => join(keep, `${key}.json`);
  const results = await Promise.all(cells.map((cell) => readCell<T>(fileOf(cell))));
  const bar = progress("measuring", results.filter((result) => !result).length, "cells");
  let done = 0;
  try {
    for (const [i, cell] of cells.entries()) {
      if (signal.aborted) break;
      if (results[i]) continue;
      // Another process may have computed it meanwhile.
      const result = (await readCell<T>(fileOf(cell))) ?? (await cell.compute());
      await writeWholeFile(fileOf(cell), `${toJson(result)}\n`);
      results[i] = result;
      done += 1;
      bar.update(done);
    }
  } finally {
    bar.stop();
  }
  return results;
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    const isFile = (error as NodeJS.ErrnoException).code === "EEXIST";
    const why = isFile ? "it is a file; cells are kept in a folder" : reason(error);
    throw new UserError(`Cannot keep cells in ${path}: ${why}. Name another folder with --keep.`);
  }
}

/** Undefined if the cell has not been computed. */
async function readCell<T extends object>(path: string): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new UserError(`Cannot read ${path}: ${reason(error)}.`);
  }
  try {
    const value = fromJson(text);
    if (typeof value === "object" && value !== null) return value as T;
  } catch {}
  throw new UserError(`${path} holds no kept cell: remove it, or name another folder with --keep.`);
}
