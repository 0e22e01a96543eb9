// The command is tested as it is built: brings dist/ up to date with src/ where it is not.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** To make a folder succeeds for one of two processes only: test files run side by side. */
const LOCK = join(ROOT, "node_modules/.dawnstream-build");
const PATIENCE_MS = 60_000;

/** Throws where src/ does not compile. */
export async function ensureBuilt(): Promise<void> {
  const began = Date.now();
  while (!lock()) {
    // A process that was killed leaves its lock behind.
    if (Date.now() - began > PATIENCE_MS) rmdirSync(LOCK);
    await setTimeout(100);
  }
  try {
    if (!isCurrent()) execFileSync(process.execPath, [join(ROOT, "scripts/build.mjs")]);
  } finally {
    rmdirSync(LOCK);
  }
}

function lock(): boolean {
  try {
    mkdirSync(LOCK);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** The build ends with the shaders of src/kernels: where they are, all is. */
function isCurrent(): boolean {
  const built = ["dist/cli/main.js", "dist/kernels/matrix/matvec.wgsl"].map((name) =>
    join(ROOT, name),
  );
  if (!built.every((path) => existsSync(path))) return false;
  const source = join(ROOT, "src");
  const files = readdirSync(source, { recursive: true }).map((name) => join(source, String(name)));
  const newest = Math.max(...files.map((path) => statSync(path).mtimeMs));
  return statSync(built[0]!).mtimeMs > newest;
}
