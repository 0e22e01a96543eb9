// The page budgets: what is longer is two ideas. A source file 300 lines, a kernel 120, the forward pass 250.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("../src", import.meta.url));
const limit = (file) => (file === "engine/model.ts" ? 250 : file.endsWith(".wgsl") ? 120 : 300);

const over = readdirSync(source, { recursive: true })
  .filter((file) => /\.(ts|wgsl)$/.test(file))
  .map((file) => ({
    file,
    lines: readFileSync(`${source}/${file}`, "utf8").split("\n").length - 1,
  }))
  .filter(({ file, lines }) => lines > limit(file));

for (const { file, lines } of over) {
  console.error(`src/${file} has ${lines} lines, its budget is ${limit(file)}`);
}
process.exitCode = over.length > 0 ? 1 : 0;
