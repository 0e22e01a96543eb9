// What README.md and docs/context.md show, run as it stands there.

import { spawn } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { SHIPPED_MODEL } from "../src/index.ts";
import { ensureBuilt, ROOT } from "./support/build.ts";
import { temporaryFolder } from "./support/cli.ts";
import { nodePrograms } from "./support/nodes.ts";

const pageOf = (name: string) => readFileSync(join(ROOT, name), "utf8");
const README = pageOf("README.md");
const PAGES = README + pageOf("docs/context.md");

/** A folder of a user's: the package installed, a model and a book beside the script. Pictures land here. */
const folder = temporaryFolder();
beforeAll(async () => {
  await ensureBuilt();
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(ROOT, join(folder, "node_modules/dawnstream"));
  copyFileSync(SHIPPED_MODEL, join(folder, "model.gguf"));
  copyFileSync(
    join(ROOT, "test/fixtures/text/frankenstein-chapter-1.txt"),
    join(folder, "book.txt"),
  );
  // For commands, which name files of the repository.
  for (const name of ["test", "examples"]) symlinkSync(join(ROOT, name), join(folder, name));
  mkdirSync(join(folder, "docs/pictures"), { recursive: true });
});

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, args: readonly string[], cwd = folder): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, stdout, stderr }));
  });
}

const { found, missing } = nodePrograms();
if (missing.length > 0)
  console.warn(`NOT TESTED on Node ${missing.join(" and ")}: run .ci/run, which installs them.`);

const snippets = [...README.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code!);

test("README has scripts to run", () => {
  expect(snippets.length).toBe(2);
});

describe.each(found)("on Node $version", ({ path }) => {
  test.each(snippets)("a script of README runs as it stands: %#", async (code) => {
    const script = join(folder, "script.mjs");
    writeFileSync(script, code);
    const { status, stdout, stderr } = await run(path, [script]);
    expect(stderr).not.toMatch(/Error/);
    expect(status).toBe(0);
    expect(stdout.length).toBeGreaterThan(100); // a story or an answer
  });

  test("npm start writes the same story", async () => {
    const { start } = (JSON.parse(pageOf("package.json")) as { scripts: { start: string } })
      .scripts;
    const [, args] = /^node (.*)$/.exec(start)!;
    const { status, stdout } = await run("sh", ["-c", `exec "${path}" ${args}`], ROOT);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Once upon a time/);
    expect(stdout.length).toBeGreaterThan(400);
  });
});

/** What a page shows in indented lines, without its comment. */
const lines = [...new Set(PAGES.match(/^ {4}npx dawnstream .*$/gm))].map((line) =>
  line.trim().replace(/\s+#.*$/, ""),
);

/** Commands that are not run here, and why. */
const NOT_RUN: readonly [RegExp, string][] = [
  [
    /\bhf:/,
    "fetches a model from Hugging Face: test/cli/models.test.ts does so from a server of its own",
  ],
  [/Llama-3\.2-1B|\bFILE\b/, "names a model that the reader has to have"],
  [
    / rope --file/,
    "sweeps lengths and passkeys for minutes: test/cli/laboratory.test.ts runs a short sweep",
  ],
  [
    / bench /,
    "is timed for minutes: test/cli/bench-kernels.test.ts and laboratory.test.ts run short ones",
  ],
  [
    /recompute:1024/,
    "recomputes 1,024 tokens for every token: test/cli/laboratory.test.ts runs a short one",
  ],
];
const reasonFor = (line: string) => NOT_RUN.find(([pattern]) => pattern.test(line))?.[1];

for (const line of lines) {
  const reason = reasonFor(line);
  if (reason !== undefined) {
    test.skip(`${line} (not run: it ${reason})`, () => {});
    continue;
  }
  test(line, async () => {
    const command = line.replaceAll(
      "npx dawnstream",
      `"${process.execPath}" "${ROOT}/dist/cli/main.js"`,
    );
    const { status, stdout, stderr } = await run("sh", ["-c", command]);
    expect(stderr).not.toMatch(/^error: |Error/m);
    expect(status).toBe(0);
    // A chat without a terminal has no questions; all others print a result.
    if (!/ chat /.test(line)) expect(stdout.trim().length).toBeGreaterThan(0);
    const [, plot] = / --plot (\S+)/.exec(line) ?? [];
    if (plot) expect(readFileSync(join(folder, plot)).length).toBeGreaterThan(1000);
  }, 400_000); // the longest streams 15,000 tokens
}

test("every reason not to run a command is needed", () => {
  for (const [pattern] of NOT_RUN) expect(lines.some((line) => pattern.test(line))).toBe(true);
  expect(lines.filter((line) => reasonFor(line) === undefined).length).toBeGreaterThan(20);
});

const examples = readdirSync(join(ROOT, "examples")).filter((name) => name.endsWith(".ts"));

test.each(examples)("npx tsx examples/%s", async (name) => {
  const tsx = join(ROOT, "node_modules/tsx/dist/cli.mjs");
  const { status, stdout, stderr } = await run(process.execPath, [tsx, `examples/${name}`], ROOT);
  expect(stderr).not.toMatch(/Error/);
  expect(status).toBe(0);
  expect(stdout.length).toBeGreaterThan(50);
});
