// Where the tests' models lie: in the repository, or, for more of them, beside it.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FOLDERS = ["test/fixtures/models/", "models/", "../shared/fixtures/models/"].map((folder) =>
  fileURLToPath(new URL(`../../${folder}`, import.meta.url)),
);

/** The path of a model file; undefined where it is not on this machine. */
export function findModel(name: string): string | undefined {
  return FOLDERS.map((folder) => folder + name).find((path) => existsSync(path));
}

/** The path of a model that is part of the repository. */
export function fixtureModel(name: string): string {
  const path = findModel(name);
  if (path === undefined) throw new Error(`${name} is missing from the repository's fixtures`);
  return path;
}

/** Says on stderr, for every reporter to pass on, what was not run and why. */
export function warnNotRun(what: string, names: readonly string[]): void {
  if (names.length === 0) return;
  process.stderr.write(
    `\nNOT RUN, for want of ../shared/fixtures: ${names.length} ${what}: ${names.join(", ")}\n\n`,
  );
}
