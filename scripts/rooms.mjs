// The house rules of src that a linter cannot see, types counted as imports: which house may import which, no circle of
// imports, and at most 16 files in a folder (a weight format's pair of files aside). Prints what breaks them.
import { fileURLToPath } from "node:url";
import { circlesOf, filesOf, foldersOf, importsOf } from "./source-tree.mjs";

const source = fileURLToPath(new URL("../src", import.meta.url));
const MAX_FILES = 16;
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

const files = filesOf(source);
const imports = importsOf(source, files);
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

for (const circle of circlesOf(imports)) {
  faults.push(`a circle of imports: ${circle.join(" -> ")}`);
}

const folders = foldersOf(files);
for (const { folder, unpaired } of folders) {
  if (unpaired > MAX_FILES) {
    faults.push(`${folder} has ${unpaired} files, at most ${MAX_FILES} may be`);
  }
}

for (const fault of faults) console.error(fault);
if (faults.length === 0) {
  console.log(
    `${files.length} files in ${folders.length} folders: no circle, every arrow as it should be`,
  );
}
process.exitCode = faults.length > 0 ? 1 : 0;
