// Where Mesa caches compiled kernels. Without a cache every start compiles them again, which takes
// seconds.

import { accessSync, constants } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** The names of its folder; Mesa's version and settings decide which. */
const FOLDERS = ["mesa_shader_cache_db", "mesa_shader_cache", "mesa_shader_cache_sf"];

/**
 * Why Mesa cannot cache compiled kernels, and how to fix it; undefined if it can, or if its cache
 * is switched off. Call it after Mesa has opened its cache, since only then the folder exists.
 */
export function noKernelCache(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const { MESA_SHADER_CACHE_DIR: own, XDG_CACHE_HOME: base } = env;
  if (/^(1|y|yes|true)$/i.test(env.MESA_SHADER_CACHE_DISABLE ?? "")) return undefined;
  const folder = own || base || join(homedir(), ".cache");
  if (FOLDERS.some((name) => isWritable(join(folder, name)))) return undefined;
  const variable = own ? "MESA_SHADER_CACHE_DIR" : "XDG_CACHE_HOME";
  return (
    `The driver cannot keep compiled kernels in ${folder}, so every start compiles them again: ` +
    `set ${variable} to a folder that can be written to.`
  );
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
