// Cells of a sweep, kept in a folder.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sweep } from "../../src/cli/experiments/sweep.ts";
import { temporaryFolder } from "../support/cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const { signal } = new AbortController();

interface Result {
  readonly value: number;
  readonly parts: readonly number[];
}

/** Cells that count how often they are computed. */
function counted(results: Readonly<Record<string, Result>>) {
  const computed: string[] = [];
  const cells = Object.entries(results).map(([key, result]) => ({
    key,
    compute: async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      computed.push(key);
      return result;
    },
  }));
  return { cells, computed };
}

test("infinities are kept as they are", async () => {
  const results = {
    a: { value: Number.POSITIVE_INFINITY, parts: [1, Number.NEGATIVE_INFINITY] },
    b: { value: 2, parts: [Number.POSITIVE_INFINITY] },
  };
  const first = counted(results);
  expect(await sweep(first.cells, at("infinite"), signal)).toEqual([results.a, results.b]);
  const second = counted(results);
  expect(await sweep(second.cells, at("infinite"), signal)).toEqual([results.a, results.b]);
  expect([first.computed, second.computed]).toEqual([["a", "b"], []]);
});

test("two sweeps at once in one folder lose no cell, and share what both want", async () => {
  const result = (value: number) => ({ value, parts: [] });
  const one = counted({ a: result(1), b: result(2), c: result(3) });
  const other = counted({ c: result(3), d: result(4), a: result(1) });
  const keep = at("shared");
  const found = await Promise.all([one, other].map(({ cells }) => sweep(cells, keep, signal)));
  expect(found.map((all) => all.map((cell) => cell!.value))).toEqual([
    [1, 2, 3],
    [3, 4, 1],
  ]);
  expect(readdirSync(keep).sort()).toEqual(["a.json", "b.json", "c.json", "d.json"]);
  expect([...one.computed, ...other.computed].sort()).toEqual(["a", "b", "c", "d"]);
});

test("a folder or a cell that cannot be used is named", async () => {
  writeFileSync(at("file"), "{}");
  const { cells } = counted({ a: { value: 1, parts: [] } });
  const run = (keep: string) => sweep(cells, keep, signal);
  await expect(run(at("file"))).rejects.toThrow(/file: it is a file; .*--keep/);
  await expect(run(at("file/below"))).rejects.toThrow(/below: no such file or folder.*--keep/);
  await run(at("damaged"));
  for (const text of ["", "{", "7", "null"]) {
    writeFileSync(at("damaged/a.json"), text);
    await expect(run(at("damaged"))).rejects.toThrow(/a\.json holds no kept cell: remove it/);
    expect(readFileSync(at("damaged/a.json"), "utf8")).toBe(text);
  }
});
