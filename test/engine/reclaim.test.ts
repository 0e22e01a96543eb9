// What is closed, lost or dropped is given back: threads, memory and pages, in a process of its own.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, test } from "vitest";
import { ensureBuilt } from "../support/build.ts";
import { fixtureModel } from "../support/models.ts";

interface Held {
  readonly threads: number;
  readonly megabytes: number;
}
interface Report {
  readonly afterLoads: readonly Held[];
  readonly afterLosses: readonly Held[];
  readonly pages: readonly [held: number, left: number];
  readonly texts: number;
}

const LOADS = 30;
const LOSSES = 10;

const isLinux = existsSync("/proc/self/task");
if (!isLinux) console.warn("SKIPPED: threads are counted in /proc/self/task, which is Linux's.");

describe.skipIf(!isLinux)("in a process of its own", () => {
  let report: Report;
  beforeAll(async () => {
    await ensureBuilt();
    const script = fileURLToPath(new URL("../support/reclaim.mjs", import.meta.url));
    const model = fixtureModel("stories260K-F32.gguf");
    const args = ["--expose-gc", "--max-semi-space-size=1", script, model, `${LOADS}`, `${LOSSES}`];
    // What grows for a while and is no leak stays as it begins: V8's young generation, and glibc's arenas, up to eight a core
    // for its threads, each of which keeps what is freed in it.
    const env = { ...process.env, MALLOC_ARENA_MAX: "1" };
    const { stdout } = await promisify(execFile)(process.execPath, args, { env });
    report = JSON.parse(stdout) as Report;
  }, 240_000);

  test.each([
    ["loads and closes", "afterLoads", LOADS],
    ["lost devices", "afterLosses", LOSSES],
  ] as const)("%s leave no threads and no memory", (_, name, count) => {
    const held = report[name];
    expect(held.length).toBe(count);
    const third = held[2]!;
    for (const { threads, megabytes } of held.slice(3)) {
      expect(threads).toBeLessThanOrEqual(third.threads + 2);
      expect(megabytes).toBeLessThanOrEqual(third.megabytes + 20);
    }
    expect(report.texts).toBe(1); // the same after every loss
  });

  test("a text that is dropped between two pieces gives its pages back when it is collected", () => {
    const [held, left] = report.pages;
    expect(held).toBeGreaterThan(0);
    expect(left).toBe(0);
  });
});
