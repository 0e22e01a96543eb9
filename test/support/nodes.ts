// The versions of Node that README promises: the one that runs the tests, and others if they are there.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./build.ts";

/** Where `.ci/run` installs them: npm's package `node` brings a program. */
const FOLDER = process.env.DAWNSTREAM_NODES ?? join(ROOT, "node_modules/.cache/nodes");
const OTHERS = ["22", "24"];

export interface NodeProgram {
  readonly version: string;
  readonly path: string;
}

/** The programs to run, and the versions that are missing. */
export function nodePrograms(): { readonly found: NodeProgram[]; readonly missing: string[] } {
  const others = OTHERS.map((version) => ({
    version,
    path: join(FOLDER, version, "node_modules/node/bin/node"),
  }));
  for (const { version, path } of others.filter(({ path }) => existsSync(path))) {
    const own = execFileSync(path, ["--version"], { encoding: "utf8" }).trim();
    if (!own.startsWith(`v${version}.`)) throw new Error(`${path} is Node ${own}`);
  }
  const own = { version: process.versions.node, path: process.execPath };
  return {
    found: [own, ...others.filter(({ path }) => existsSync(path))],
    missing: others.filter(({ path }) => !existsSync(path)).map(({ version }) => version),
  };
}
