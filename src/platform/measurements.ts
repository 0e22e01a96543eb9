// Figures measured on this machine, in a file of the user's cache directory. It may be deleted at
// any time.

import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import type { Measurements } from "../kernels/matrix/tuning.ts";
import { makeFolderOf, userFile } from "./user-file.ts";
import { writeWholeFile } from "./write-file.ts";

/**
 * ~/.cache/dawnstream/measured.json, or below XDG_CACHE_HOME if that is set. Throws if the user has
 * no home.
 */
export function measurementsFile(env: NodeJS.ProcessEnv = process.env): string {
  return userFile("cache", "measured.json", env);
}

/**
 * Threads of a software adapter here: machines may share a home, and a variable limits Mesa's
 * threads.
 */
export function threads(env: NodeJS.ProcessEnv = process.env): string {
  return `${env.LP_NUM_THREADS || availableParallelism()} threads`;
}

/** Keeps figures in a file, or in memory only if the file cannot be read or written. */
export function fileMeasurements(file: () => string, machine: string = threads()): Measurements {
  const known = new Map<string, number>();
  return {
    async get(name) {
      const full = `${machine}/${name}`;
      return known.get(full) ?? (await readNumbers(file)).get(full);
    },
    async set(name, value) {
      known.set(`${machine}/${name}`, value);
      const all = new Map([...(await readNumbers(file)), ...known]);
      await replace(file, `${JSON.stringify(Object.fromEntries(all), null, 2)}\n`).catch(() => {});
    },
  };
}

/** The figures of a file; empty if there is none, or if its content is invalid. */
async function readNumbers(file: () => string): Promise<Map<string, number>> {
  try {
    const found: unknown = JSON.parse(await readFile(file(), "utf8"));
    if (typeof found !== "object" || found === null) return new Map();
    return new Map(Object.entries(found).filter(([, value]) => typeof value === "number"));
  } catch {
    return new Map();
  }
}

async function replace(file: () => string, text: string): Promise<void> {
  const path = file();
  await makeFolderOf(path);
  await writeWholeFile(path, text);
}
