// The source files of a checkout and what they import, types counted: for rooms.mjs, which checks
// them, and structure.mjs, which counts.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import ts from "typescript";

/** Every file below `source`, by its path from there. */
export function filesOf(source) {
  return readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => posix.normalize(relative(source, join(parentPath, name))))
    .sort();
}

/** What each TypeScript file imports: files of `source` by their path, others by their name. */
export function importsOf(source, files) {
  const targets = (file) => {
    const text = readFileSync(join(source, file), "utf8");
    return ts
      .preProcessFile(text, true, true)
      .importedFiles.map(({ fileName }) =>
        fileName.startsWith(".") ? posix.join(dirname(file), fileName) : fileName,
      );
  };
  return new Map(files.filter((file) => file.endsWith(".ts")).map((file) => [file, targets(file)]));
}

/** A shortest path from a file back to itself, for each set of files that reach each other. */
export function circlesOf(imports) {
  const circles = [];
  const reach = new Map([...imports.keys()].map((file) => [file, pathsFrom(imports, file)]));
  const seen = new Set();
  for (const [file, paths] of reach) {
    if (seen.has(file) || !paths.has(file)) continue;
    for (const other of paths.keys()) if (reach.get(other)?.has(file)) seen.add(other);
    circles.push(paths.get(file));
  }
  return circles;
}

/** Shortest paths from a file to all that it reaches; to itself, too, if it is on a circle. */
function pathsFrom(imports, start) {
  const paths = new Map();
  const ahead = [[start]];
  for (const path of ahead) {
    for (const target of imports.get(path.at(-1)) ?? []) {
      if (paths.has(target) || !imports.has(target)) continue;
      paths.set(target, [...path, target]);
      ahead.push([...path, target]);
    }
  }
  return paths;
}

/** How many files each folder has, and how many if pairs (.ts, .wgsl) of formats are left out. */
export function foldersOf(files) {
  const folders = new Map();
  for (const file of files) {
    folders.set(dirname(file), [...(folders.get(dirname(file)) ?? []), file]);
  }
  return [...folders].map(([folder, inside]) => {
    const other = (file) => file.replace(/\.\w+$/, file.endsWith(".ts") ? ".wgsl" : ".ts");
    const isPaired = (file) => /(^|\/)formats$/.test(folder) && inside.includes(other(file));
    return { folder, files: inside.length, unpaired: inside.filter((f) => !isPaired(f)).length };
  });
}
