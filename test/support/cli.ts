// Runs the built command as a user does.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { ensureBuilt, ROOT } from "./build.ts";

export const MAIN: string = join(ROOT, "dist/cli/main.js");

beforeAll(ensureBuilt);

export interface Run {
  /** The exit status; null when a signal ended the process. */
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly text: string;
  /** Lines, without those that Dawn itself prints about adapters. */
  readonly stderr: readonly string[];
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly main?: string;
  readonly cwd?: string;
  /** Gets the process when it has written something to stdout for the first time. */
  readonly onOutput?: (child: ChildProcess) => void;
  /** Gets the process at once. */
  readonly onStart?: (child: ChildProcess) => void;
}

export function dawnstream(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const { input = "", env = {}, main = MAIN, cwd, onOutput, onStart } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], {
      cwd,
      env: { ...process.env, ...env },
    });
    onStart?.(child);
    const stdout: Buffer[] = [];
    let stderr = "";
    if (onOutput) child.stdout.once("data", () => onOutput(child));
    child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", reject);
    child.on("close", (status) => {
      const bytes = Buffer.concat(stdout);
      const lines = stderr.split("\n").filter((line) => line !== "" && !isDawns(line));
      resolve({ status, stdout: bytes, text: bytes.toString("utf8"), stderr: lines });
    });
    child.stdin.on("error", () => {}); // the command may end without reading its input
    child.stdin.end(input);
  });
}

function isDawns(line: string): boolean {
  return /^Warning: |third_party\/dawn\/src/.test(line);
}

/** Status 0, and a timing line or nothing but warnings on stderr. */
export async function succeed(args: readonly string[], options?: RunOptions): Promise<Run> {
  const run = await dawnstream(args, options);
  expect(run.stderr.filter((line) => !/^(\[|warning: )/.test(line))).toEqual([]);
  expect(run.status).toBe(0);
  return run;
}

/** Status 2, one line on stderr that says what is wrong, nothing on stdout. */
export async function fail(
  args: readonly string[],
  message: RegExp,
  options?: RunOptions,
): Promise<void> {
  const run = await dawnstream(args, options);
  expect(run.stderr).toEqual([expect.stringMatching(message)]);
  expect(run.stderr[0]).toMatch(/^error: /);
  expect(run.text).toBe("");
  expect(run.status).toBe(2);
}

/** The one JSON value on stdout. */
export async function json<T>(args: readonly string[], options?: RunOptions): Promise<T> {
  const { text } = await succeed(args, options);
  expect(text).toMatch(/^[^\n]+\n$/);
  return JSON.parse(text) as T;
}

/** A folder of the test file's own. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "dawnstream-test-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
