// The longest a source file and a shader may be. A file is one idea: from 300 lines (a shader: 120) ask whether it is two.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("../src", import.meta.url));
const limit = (file) => (file.endsWith(".wgsl") ? 200 : 400);

const over = readdirSync(source, { recursive: true })
  .filter((file) => /\.(ts|wgsl)$/.test(file))
  .map((file) => ({
    file,
    lines: readFileSync(`${source}/${file}`, "utf8").split("\n").length - 1,
  }))
  .filter(({ file, lines }) => lines > limit(file));

for (const { file, lines } of over) {
  console.error(`src/${file} has ${lines} lines, the limit is ${limit(file)}`);
}
process.exitCode = over.length > 0 ? 1 : 0;
