// Paths of files that a user does not name, by the XDG Base Directory Specification.

import { mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";

/** Kinds of files: those that may be deleted at any time, and those worth keeping. */
const FOLDERS = {
  cache: { variable: "XDG_CACHE_HOME", usual: ".cache" },
  state: { variable: "XDG_STATE_HOME", usual: ".local/state" },
} as const;

/**
 * ~/.cache/dawnstream/name, or below the variable's folder if that is set. Throws if a user has no
 * home.
 */
export function userFile(
  kind: keyof typeof FOLDERS,
  name: string,
  env: NodeJS.ProcessEnv = process.env,
): string {
  const { variable, usual } = FOLDERS[kind];
  const chosen = env[variable] ?? "";
  // A relative path is to be ignored.
  const base = isAbsolute(chosen) ? chosen : join(homedir(), usual);
  return join(base, "dawnstream", name);
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
