// Cells of a sweep, kept in a folder.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cellFolder } from "../../src/cli/experiments/cell-folder.ts";
import { type Cell, sweep } from "../../src/laboratory/experiments/sweep.ts";
import { temporaryFolder } from "../support/cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);

interface Result {
  readonly value: number;
  readonly parts: readonly number[];
}

const sweepIn = async (folder: string, cells: readonly Cell<Result>[]) =>
  sweep(cells, await cellFolder<Result>(folder, "a model and a text"));

/** Cells that count how often they are computed. */
function counted(results: Readonly<Record<string, Result>>) {
  const computed: string[] = [];
  const cells = Object.entries(results).map(([key, result]) => ({
    key: [key],
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
  expect(await sweepIn(at("infinite"), first.cells)).toEqual([results.a, results.b]);
  const second = counted(results);
  expect(await sweepIn(at("infinite"), second.cells)).toEqual([results.a, results.b]);
  expect([first.computed, second.computed]).toEqual([["a", "b"], []]);
});

test("two sweeps at once in one folder lose no cell, and share what both want", async () => {
  const result = (value: number) => ({ value, parts: [] });
  const one = counted({ a: result(1), b: result(2), c: result(3) });
  const other = counted({ c: result(3), d: result(4), a: result(1) });
  const keep = at("shared");
  const found = await Promise.all([one, other].map(({ cells }) => sweepIn(keep, cells)));
  expect(found.map((all) => all.map((cell) => cell!.value))).toEqual([
    [1, 2, 3],
    [3, 4, 1],
  ]);
  expect(readdirSync(keep).length).toBe(4);
  expect([...one.computed, ...other.computed].sort()).toEqual(["a", "b", "c", "d"]);
});

test("a folder or a cell that cannot be used is named", async () => {
  writeFileSync(at("file"), "{}");
  const { cells } = counted({ a: { value: 1, parts: [] } });
  const run = (keep: string) => sweepIn(keep, cells);
  await expect(run(at("file"))).rejects.toThrow(/file: it is a file; .*--keep/);
  await expect(run(at("file/below"))).rejects.toThrow(/below: no such file or folder.*--keep/);
  await run(at("damaged"));
  const [name] = readdirSync(at("damaged")) as [string];
  for (const text of ["", "{", "7", "null"]) {
    writeFileSync(join(at("damaged"), name), text);
    await expect(run(at("damaged"))).rejects.toThrow(`${name} holds no kept cell: remove it`);
    expect(readFileSync(join(at("damaged"), name), "utf8")).toBe(text);
  }
});

test("a raised signal ends a sweep between two cells, with what there is so far", async () => {
  const controller = new AbortController();
  const { cells, computed } = counted({
    a: { value: 1, parts: [] },
    b: { value: 2, parts: [] },
    c: { value: 3, parts: [] },
  });
  const told: string[] = [];
  const onProgress = (done: number, total: number) => {
    told.push(`${done} of ${total}`);
    if (done === 2) controller.abort();
  };
  const store = await cellFolder<Result>(at("stopped"), "a model and a text");
  const found = await sweep(cells, store, { onProgress, signal: controller.signal });
  expect(found.map((result) => result?.value)).toEqual([1, 2, undefined]);
  expect(computed).toEqual(["a", "b"]);
  expect(told).toEqual(["0 of 3", "1 of 3", "2 of 3"]);
});
