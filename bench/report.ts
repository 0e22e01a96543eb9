// What benches share: numbers of flags, medians, tables, and results as files.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../src/errors.ts";
import { median } from "../src/numbers.ts";
import { writeWholeFile } from "../src/platform/write-file.ts";

/** A flag's whole number between two bounds, or a `UserError`. */
export function wholeNumber(flag: string, text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new UserError(
    `Invalid ${flag} "${text}": expected a whole number from ${least} to ${most}.`,
  );
}

/** Half the distance between the quartiles, as a share of the median: what half of the samples stay within. */
export function spread(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const quartile = (q: number) => sorted[Math.floor(q * (sorted.length - 1))] ?? Number.NaN;
  return (quartile(0.75) - quartile(0.25)) / 2 / median(values);
}

export function percent(share: number): string {
  return `±${(100 * share).toFixed(0)} %`;
}

/** Lines of cells become columns; numbers are aligned to the right. */
export function printTable(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = header.map((name, i) =>
    Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) =>
        /^[\d±-]/.test(cell) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!),
      )
      .join("  ")
      .trimEnd();
  console.log([line(header), ...rows.map(line)].join("\n"));
}

export { machine } from "../src/platform/machine.ts";

/** Keeps a result under bench/results. */
export async function save(name: string, result: object): Promise<void> {
  const folder = join(import.meta.dirname, "results");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.json`);
  await writeWholeFile(path, `${JSON.stringify(result, null, 2)}\n`);
  console.error(`Saved bench/results/${name}.json`);
}
