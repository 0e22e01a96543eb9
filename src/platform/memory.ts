// What was measured on this machine, in a file of the user's cache directory. It may be deleted at any time.

import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import type { Memory } from "../kernels/workgroups.ts";

/** ~/.cache/dawnstream/measured.json, or below XDG_CACHE_HOME where that is set. */
export function memoryFile(env: NodeJS.ProcessEnv = process.env): string {
  const { XDG_CACHE_HOME: chosen = "" } = env;
  // XDG Base Directory Specification: a relative path is to be ignored.
  const base = isAbsolute(chosen) ? chosen : join(homedir(), ".cache");
  return join(base, "dawnstream", "measured.json");
}

/** Remembers in a file; where that cannot be read or written, as long as the process lives. */
export function fileMemory(path: string): Memory {
  const known = new Map<string, number>();
  return {
    async recall(name) {
      return known.get(name) ?? (await readNumbers(path)).get(name);
    },
    async keep(name, value) {
      known.set(name, value);
      const all = new Map([...(await readNumbers(path)), ...known]);
      const text = `${JSON.stringify(Object.fromEntries(all), null, 2)}\n`;
      // Whole or not at all: another process may read it meanwhile.
      const draft = `${path}.${process.pid}`;
      await mkdir(dirname(path), { recursive: true })
        .then(() => writeFile(draft, text))
        .then(() => rename(draft, path))
        .catch(() => rm(draft, { force: true }))
        .catch(() => {});
    },
  };
}

/** What a file holds; nothing where there is none, or where somebody has written something else into it. */
async function readNumbers(path: string): Promise<Map<string, number>> {
  try {
    const found: unknown = JSON.parse(await readFile(path, "utf8"));
    if (typeof found !== "object" || found === null) return new Map();
    return new Map(Object.entries(found).filter(([, value]) => typeof value === "number"));
  } catch {
    return new Map();
  }
}
