// What was measured on this machine, in a file of the user's cache directory. It may be deleted at any time.

import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import type { Measurements } from "../kernels/matrix/tuning.ts";
import { makeFolderOf, userFile } from "./user-file.ts";
import { writeWholeFile } from "./write-file.ts";

/** ~/.cache/dawnstream/measured.json, or below XDG_CACHE_HOME if that is set. Throws where a user has no home. */
export function measurementsFile(env: NodeJS.ProcessEnv = process.env): string {
  return userFile("cache", "measured.json", env);
}

/** Threads that a software adapter has here: homes are shared by machines, and Mesa listens to a variable. */
export function threads(env: NodeJS.ProcessEnv = process.env): string {
  return `${env.LP_NUM_THREADS || availableParallelism()} threads`;
}

/** Remembers in a file; if that cannot be read or written, as long as the process lives. */
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

/** What a file holds; nothing if there is none, or if something else was written into it. */
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
