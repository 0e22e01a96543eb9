// The house rules of src that a linter cannot see, types counted as imports: which house may import which, no circle of
// imports, and at most 16 files in a folder (a weight format's pair of files aside). Prints what breaks them.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const source = fileURLToPath(new URL("../src", import.meta.url));
const MAX_FILES = 16;
const PAIRS = "kernels/weights/formats"; // a .ts and a .wgsl a format
const GROUND = ["errors.ts", "numbers.ts", "option-reader.ts"];

/** What each house may import beside itself and the ground. */
const ARROWS = {
  kernels: [],
  context: ["kernels"],
  engine: ["context", "kernels"],
  laboratory: ["engine", "context", "kernels"],
  platform: ["engine", "context", "kernels"],
  "index.ts": ["platform", "engine", "context", "kernels"],
  cli: ["index.ts", "laboratory", "platform", "engine", "context", "kernels"],
};
/** Rooms of a house, of which each may import those before it. */
const ROOMS = {
  kernels: ["gpu", "adapter", "weights", "rows", "attention", "choice", "matrix"],
};
/** Only these know Node and Dawn; the rest also runs in a browser. */
const NODE = ["platform", "index.ts", "cli"];

const files = readdirSync(source, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map(({ parentPath, name }) => posix.normalize(relative(source, join(parentPath, name))));

/** What a file imports: files of src by their path, others by their name. */
function importsOf(file) {
  const text = readFileSync(join(source, file), "utf8");
  return ts
    .preProcessFile(text, true, true)
    .importedFiles.map(({ fileName }) =>
      fileName.startsWith(".") ? posix.join(dirname(file), fileName) : fileName,
    );
}

const imports = new Map(
  files.filter((file) => file.endsWith(".ts")).map((file) => [file, importsOf(file)]),
);
const faults = [];

for (const [file, targets] of imports) {
  const house = file.split("/")[0];
  for (const target of targets) {
    const other = target.split("/")[0];
    if (!imports.has(target)) {
      const isHost = target.startsWith("node:") || target === "webgpu";
      if (isHost && !NODE.includes(house)) {
        faults.push(`${file} imports ${target}: only ${NODE.join(", ")} may`);
      }
    } else if (house === other) {
      const order = ROOMS[house] ?? [];
      const [from, to] = [file, target].map((path) => order.indexOf(path.split("/")[1]));
      if (from >= 0 && to > from) {
        const allowed = order.slice(0, from).join(", ") || "no other room";
        faults.push(`${file} imports ${target}: ${house}/${order[from]} may import ${allowed}`);
      }
    } else if (GROUND.includes(target)) {
    } else if (!ARROWS[house]?.includes(other)) {
      const allowed = ARROWS[house] ?? GROUND;
      faults.push(`${file} imports ${target}: ${house} may import ${allowed.join(", ") || "none"}`);
    }
  }
}

/** The first circle that a walk along the imports of `file` meets, as a path. */
const done = new Set();
function circleFrom(file, path = []) {
  if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
  if (done.has(file)) return undefined;
  for (const target of imports.get(file) ?? []) {
    const circle = circleFrom(target, [...path, file]);
    if (circle) return circle;
  }
  done.add(file);
  return undefined;
}
for (const file of imports.keys()) {
  const circle = circleFrom(file);
  if (circle) {
    faults.push(`a circle of imports: ${circle.join(" -> ")}`);
    for (const one of circle) done.add(one);
  }
}

const folders = new Map();
for (const file of files) folders.set(dirname(file), [...(folders.get(dirname(file)) ?? []), file]);
for (const [folder, inside] of folders) {
  const isPaired = (file) => folder === PAIRS && inside.includes(file.replace(/\.\w+$/, ".wgsl"));
  const count = inside.filter((file) => !isPaired(file)).length;
  if (count > MAX_FILES) faults.push(`${folder} has ${count} files, at most ${MAX_FILES} may be`);
}

for (const fault of faults) console.error(fault);
if (faults.length === 0) {
  console.log(
    `${files.length} files in ${folders.size} folders: no circle, every arrow as it should be`,
  );
}
process.exitCode = faults.length > 0 ? 1 : 0;
