// Cells of a long measurement: each is computed once and kept in a file, so that a stopped sweep goes on where it was.

import { createHash } from "node:crypto";
import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { UserError } from "../errors.ts";
import { progress } from "./terminal.ts";

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
 * Computes cells in order. Those that the file `keep` holds are not computed again, and each new one is added to it at
 * once. On a terminal a bar shows the time left. A raised signal ends the sweep between two cells; what there is so far
 * is returned.
 */
export async function sweep<T>(
  cells: readonly Cell<T>[],
  keep: string,
  signal: AbortSignal,
): Promise<(T | undefined)[]> {
  const kept = await read<T>(keep);
  const missing = cells.filter(({ key }) => !(key in kept)).length;
  const bar = progress("measuring", missing, "cells");
  let done = 0;
  try {
    for (const { key, compute } of cells) {
      if (signal.aborted) break;
      if (key in kept) continue;
      kept[key] = await compute();
      await write(keep, kept);
      done += 1;
      bar.update(done);
    }
  } finally {
    bar.stop();
  }
  return cells.map(({ key }) => kept[key]);
}

async function read<T>(path: string): Promise<Record<string, T>> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw new UserError(`Cannot read ${path}: ${(error as Error).message}.`);
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return value as Record<string, T>;
  } catch {}
  throw new UserError(`${path} holds no kept cells: remove it, or name another file with --keep.`);
}

/** Whole or not at all: a process that is killed leaves the file of before. */
async function write(path: string, value: unknown): Promise<void> {
  try {
    await writeFile(`${path}.new`, JSON.stringify(value));
    await rename(`${path}.new`, path);
  } catch (error) {
    throw new UserError(`Cannot write ${path}: ${(error as Error).message}.`);
  }
}
