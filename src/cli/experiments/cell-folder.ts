// Cells of a sweep, kept in a folder: each in a file of its own, so that several sweeps that run at
// once in one folder find each other's cells and lose none.

import { createHash } from "node:crypto";
import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../errors.ts";
import type { Cell, CellStore } from "../../laboratory/experiments/sweep.ts";
import { reason } from "../../platform/file.ts";
import { writeWholeFile } from "../../platform/write-file.ts";
import { fromJson, toJson } from "../reports/json.ts";

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
 * Opens a folder for the cells of a sweep, and makes it if there is none. `base`: what all of them
 * depend on, model and text included; becomes JSON. Throws a `UserError`, as its methods do, if the
 * folder cannot be used.
 */
export async function cellFolder<T extends object>(
  path: string,
  base: unknown,
): Promise<CellStore<T>> {
  await makeFolder(path);
  const fileOf = ({ key }: Cell<T>) => join(path, `${fingerprint(base, ...key)}.json`);
  return {
    read: (cell) => readCell(fileOf(cell)),
    write: (cell, result) => writeWholeFile(fileOf(cell), `${toJson(result)}\n`),
  };
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
