// Paths of files that a user does not name: by the XDG Base Directory Specification, or the
// system's own custom for caches.

import { mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";

/** Kinds of files: those that may be deleted at any time, and those worth keeping. */
const FOLDERS = {
  cache: { variable: "XDG_CACHE_HOME", usual: ".cache" },
  state: { variable: "XDG_STATE_HOME", usual: ".local/state" },
} as const;

/**
 * ~/.cache/dawnstream/name, or below the variable's folder if that is set; caches of macOS are in
 * ~/Library/Caches, those of Windows in %LOCALAPPDATA%. The folder DAWNSTREAM_CACHE takes the place
 * of the whole `dawnstream` folder of caches. Throws if a user has no home.
 */
export function userFile(
  kind: keyof typeof FOLDERS,
  name: string,
  env: NodeJS.ProcessEnv = process.env,
  system: NodeJS.Platform = process.platform,
): string {
  const own = kind === "cache" ? env.DAWNSTREAM_CACHE : "";
  if (own) return join(resolve(own), name);
  const { variable, usual } = FOLDERS[kind];
  const chosen = env[variable] ?? "";
  // A relative path is to be ignored.
  const base = isAbsolute(chosen)
    ? chosen
    : (systemCache(kind, env, system) ?? join(homedir(), usual));
  return join(base, "dawnstream", name);
}

function systemCache(
  kind: keyof typeof FOLDERS,
  { LOCALAPPDATA }: NodeJS.ProcessEnv,
  system: NodeJS.Platform,
): string | undefined {
  if (kind !== "cache") return undefined;
  if (system === "darwin") return join(homedir(), "Library/Caches");
  return system === "win32" && LOCALAPPDATA ? LOCALAPPDATA : undefined;
}

/**
 * Makes the folder of a file, and those above it, for the user alone. Errors are ignored here:
 * writing the file will report them. (`recursive` never returns if a parent takes nothing, as in
 * /proc.)
 */
export async function makeFolderOf(path: string): Promise<void> {
  await make(dirname(path)).catch(() => {});
}

async function make(folder: string): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" || dirname(folder) === folder) throw error;
    await make(dirname(folder)).catch(() => {});
    await mkdir(folder, { mode: 0o700 });
  }
}
