// The package as a stranger gets it: packed, installed into a folder elsewhere, run and imported there.

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { ensureBuilt, ROOT } from "./support/build.ts";
import { dawnstream, temporaryFolder } from "./support/cli.ts";

const folder = temporaryFolder();
const installed = join(folder, "node_modules/dawnstream");

/** Nothing of this machine's npm but its registry and cache. */
function npm(args: readonly string[], cwd: string): string {
  return execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

interface Packed {
  readonly filename: string;
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}
let packed: Packed;

beforeAll(async () => {
  await ensureBuilt();
  // Without scripts: `prepare` would build again, into the dist/ that other tests are running.
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  [packed] = JSON.parse(npm(args, ROOT)) as [Packed];
  writeFileSync(join(folder, "package.json"), '{ "name": "elsewhere", "private": true }');
  const install = ["install", join(folder, packed.filename), "--omit=dev", "--prefer-offline"];
  npm([...install, "--no-audit", "--no-fund"], folder);
});

test("the package holds code, pages, model, licence, and nothing of the workshop", () => {
  const paths = packed.files.map(({ path }) => path);
  for (const path of [
    "LICENSE",
    "bin/dawnstream.cjs",
    "dist/cli/main.js",
    "dist/index.d.ts",
    "dist/kernels/attention/attention.wgsl",
    "dist/kernels/weights/formats/q4-k.wgsl",
    "models/tinystories-4m.Q4_K_M.gguf",
    "models/tinystories-4m.md",
  ]) {
    expect(paths).toContain(path);
  }
  expect(paths.filter((path) => /^(src|test|bench|scripts|examples|\.)/.test(path))).toEqual([]);
  // 2.5 MB of it are the model.
  expect(packed.size).toBeLessThan(4_000_000);
});

test("every page of src is packed", () => {
  const pages = readdirSync(join(ROOT, "src/kernels"), { recursive: true })
    .map((name) => `dist/kernels/${String(name).replaceAll("\\", "/")}`)
    .filter((name) => name.endsWith(".wgsl"));
  expect(pages.length).toBeGreaterThan(10);
  const paths = new Set(packed.files.map(({ path }) => path));
  const missing = pages.filter((page) => !paths.has(page));
  expect(missing).toEqual([]);
  expect(existsSync(join(installed, "dist/kernels/matrix/matvec.wgsl"))).toBe(true);
});

test("the installed command writes a story from another folder", async () => {
  const { bin } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  const run = await dawnstream(
    ["generate", "Once upon a time", "--max-tokens", "10", "--temperature", "0"],
    { main: join(installed, bin.dawnstream), cwd: folder },
  );
  expect(run.text).toBe("Once upon a time, there was a little girl named Lily\n");
  expect(run.status).toBe(0);
  expect(existsSync(join(folder, "node_modules/.bin/dawnstream"))).toBe(true);
});

test("the installed module is imported by its name", async () => {
  const script = join(folder, "story.mjs");
  writeFileSync(
    script,
    `import { Engine, loadTokenizer, SHIPPED_MODEL } from "dawnstream";
const engine = await Engine.load(SHIPPED_MODEL, { context: 64 });
let text = "";
for await (const piece of engine.generate("Once upon a time", { maxTokens: 10, temperature: 0 })) text += piece.text;
await engine.close();
const tokenizer = await loadTokenizer(SHIPPED_MODEL);
console.log(JSON.stringify({ text, ids: tokenizer.encode("Once") }));
`,
  );
  const run = await dawnstream([], { main: script, cwd: folder });
  expect(run.stderr).toEqual([]);
  expect(JSON.parse(run.text)).toEqual({
    text: ", there was a little girl named Lily",
    ids: [1, 403],
  });
});

test("its types compile in a project that checks those of its libraries", () => {
  writeFileSync(
    join(folder, "typed.mts"),
    'import { Engine, truncate, type Message } from "dawnstream";\n' +
      "export const load: Promise<Engine> = Engine.load('x.gguf', { kv: 'q8_0' });\n" +
      "export const talk: readonly Message[] = [{ role: 'user', content: 'Hi' }];\n" +
      "export { truncate };\n",
  );
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
  const flags = ["--noEmit", "--strict", "--module", "NodeNext", "--target", "ESNext"];
  const run = () =>
    execFileSync(process.execPath, [tsc, ...flags, "typed.mts"], {
      cwd: folder,
      encoding: "utf8",
    });
  expect(run()).toBe("");
});
