// What a sweep of RoPE scalings found: tables, JSON, CSV, a plot.

import { PARTS, type RopeResult } from "../../laboratory/experiments/rope.ts";
import { writeCsv } from "../terminal/input.ts";
import { write, writeJson } from "../terminal/terminal.ts";
import { type Panel, writePlot } from "./plot.ts";
import { table } from "./table.ts";

interface RopeReportFlags {
  readonly model: string;
  readonly file: string;
  readonly methods: readonly string[];
  readonly lengths: readonly number[];
  readonly json?: boolean;
  readonly csv?: string;
  readonly plot?: string;
}

export async function reportRope(
  results: readonly RopeResult[],
  flags: RopeReportFlags,
): Promise<void> {
  const perplexities = results.filter(({ kind }) => kind === "perplexity");
  const passkeys = results.filter(({ kind }) => kind === "passkey");
  if (flags.json) await writeJson({ methods: flags.methods, lengths: flags.lengths, results });
  else {
    const grid = (title: string, cell: (method: string, length: number) => string) =>
      `${table(
        [title, ...flags.lengths.map(String)],
        flags.methods.map((method) => [
          method,
          ...flags.lengths.map((length) => cell(method, length)),
        ]),
      )}\n`;
    const of = (list: readonly RopeResult[], method: string, length: number) =>
      list.filter((result) => result.method === method && result.length === length);
    await write(
      grid("perplexity by length", (m, n) => of(perplexities, m, n)[0]?.value.toFixed(3) ?? "-"),
    );
    await write(
      grid(
        "in the last eighth",
        (m, n) => of(perplexities, m, n)[0]?.byPosition?.at(-1)?.toFixed(3) ?? "-",
      ),
    );
    if (passkeys.length > 0) {
      await write(passkeyTable(passkeys, flags));
    }
  }
  if (flags.csv !== undefined) {
    const parts = Array.from({ length: PARTS }, (_, i) => `part${i + 1}`);
    const head = ["kind", "method", "length", "depth", "value", ...parts];
    await writeCsv(flags.csv, head, csvOf(results));
  }
  if (flags.plot !== undefined) {
    const longest = Math.max(...flags.lengths);
    await writePlot(flags.plot, {
      title: "How far does each RoPE scaling carry the model?",
      subtitle: `${flags.model.replace(/^.*\//, "")}, without any training, on ${flags.file.replace(/^.*\//, "")}`,
      panels: [
        {
          x: "length of the text (tokens)",
          y: "perplexity",
          log: true,
          logX: true,
          points: perplexities.map(({ method, length, value }) => ({
            x: length,
            y: value,
            series: method,
          })),
        },
        {
          x: `position within ${longest} tokens`,
          y: "perplexity",
          log: true,
          points: perplexities
            .filter(({ length }) => length === longest)
            .flatMap(({ method, byPosition = [] }) =>
              byPosition.map((y, i) => ({ x: ((i + 0.5) * longest) / PARTS, y, series: method })),
            ),
        },
        ...passkeyPanels(passkeys, longest),
      ],
    });
  }
}

/** Passkeys found, by method, depth and length. */
function passkeyTable(passkeys: readonly RopeResult[], { methods, lengths }: RopeReportFlags) {
  const depths = [...new Set(passkeys.map(({ depth }) => depth!))];
  const found = (method: string, depth: number, length: number) =>
    passkeys.find((p) => p.method === method && p.depth === depth && p.length === length);
  const rows = methods.flatMap((method) =>
    depths.map((depth) => [
      method,
      depth,
      ...lengths.map((length) => {
        const value = found(method, depth, length)?.value;
        return value === undefined ? "-" : `${(100 * value).toFixed(0)} %`;
      }),
    ]),
  );
  return table(["passkeys found", "at depth", ...lengths.map(String)], rows);
}

/** Passkeys found by length, all depths together, and by depth at the longest length. */
function passkeyPanels(passkeys: readonly RopeResult[], longest: number): Panel[] {
  if (passkeys.length === 0) return [];
  const y = "passkeys found (%)";
  const means = new Map<string, { x: number; series: string; values: number[] }>();
  for (const { method, length, value } of passkeys) {
    const key = `${method} ${length}`;
    const mean = means.get(key) ?? { x: length, series: method, values: [] };
    mean.values.push(100 * value);
    means.set(key, mean);
  }
  const byLength = [...means.values()].map(({ x, series, values }) => ({
    x,
    series,
    y: values.reduce((sum, value) => sum + value, 0) / values.length,
  }));
  const byDepth = passkeys
    .filter(({ length }) => length === longest)
    .map(({ method, depth, value }) => ({ x: depth!, y: 100 * value, series: method }));
  return [
    { x: "length of the text (tokens), all depths", y, points: byLength, logX: true },
    { x: `depth of the passkey within ${longest} tokens (0: start)`, y, points: byDepth },
  ];
}

function csvOf(results: readonly RopeResult[]): (string | number)[][] {
  return results.map(({ kind, method, length, depth = "", value, byPosition = [] }) => [
    kind,
    method,
    length,
    depth,
    value,
    ...byPosition,
  ]);
}
