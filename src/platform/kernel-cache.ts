// Where Mesa keeps the kernels that it has compiled. Without such a place every start compiles them again, in seconds.

import { accessSync, constants } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** One of these, by Mesa's version and settings. */
const FOLDERS = ["mesa_shader_cache_db", "mesa_shader_cache", "mesa_shader_cache_sf"];

/**
 * Why Mesa cannot keep compiled kernels, and how to mend it; undefined if it can, or if it was told not to. To be asked when
 * Mesa has opened its cache: that is when it makes the folder.
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
