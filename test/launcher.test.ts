// What the command says if it cannot start.

import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "./support/build.ts";
import { temporaryFolder } from "./support/cli.ts";

const folder = temporaryFolder();
const LAUNCHER = join(ROOT, "bin/dawnstream.cjs");
const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

interface Start {
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts the command in a Node that takes itself for another version. */
function start(node = process.versions.node, launcher = LAUNCHER): Promise<Start> {
  const disguise = join(folder, `${node}.cjs`);
  writeFileSync(
    disguise,
    `Object.defineProperty(process, "version", { value: "v${node}" });
Object.defineProperty(process, "versions", { value: { ...process.versions, node: "${node}" } });`,
  );
  const args = ["--require", disguise, launcher, "--version"];
  return new Promise((resolve) => {
    const child = execFile(process.execPath, args, (_, stdout, stderr) =>
      resolve({ status: child.exitCode ?? undefined, stdout, stderr }),
    );
  });
}

test.each(["10.24.1", "16.20.2", "18.20.8", "20.9.0", "20.18.3"])(
  "Node %s is told in one line that it is too old",
  async (node) => {
    expect(await start(node)).toEqual({
      status: 2,
      stdout: "",
      stderr: `error: dawnstream needs Node 20.19 or newer, and this is v${node}: see https://nodejs.org.\n`,
    });
  },
);

test.each(["20.19.0", "20.100.0", "22.0.0", "24.1.0", "100.0.0"])(
  "Node %s starts",
  async (node) => {
    expect(await start(node)).toEqual({ status: 0, stdout: `${version}\n`, stderr: "" });
  },
);

test("a checkout whose packages are not installed says in one line how to install them", async () => {
  const bare = join(folder, "bare");
  mkdirSync(bare);
  for (const name of ["bin", "dist", "package.json"]) {
    cpSync(join(ROOT, name), join(bare, name), { recursive: true });
  }
  expect(await start(undefined, join(bare, "bin/dawnstream.cjs"))).toEqual({
    status: 2,
    stdout: "",
    stderr: expect.stringMatching(
      /^error: [\w-]+, which dawnstream needs, is not installed: run `npm ci`\.\n$/,
    ),
  });
});

test("a checkout that is not built says in one line how to build it", async () => {
  mkdirSync(join(folder, "bin"));
  for (const name of ["bin/dawnstream.cjs", "package.json"])
    cpSync(join(ROOT, name), join(folder, name));
  const run = await start(undefined, join(folder, "bin/dawnstream.cjs"));
  expect(run).toEqual({
    status: 2,
    stdout: "",
    stderr: expect.stringMatching(
      /^error: dawnstream is not built: run `npm ci`, or `npm run build`.*\n$/,
    ),
  });
});
