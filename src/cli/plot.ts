// Plots as SVG. Colours are Okabe and Ito's, which colour-blind readers can tell apart, and series differ in dash too.

import { writeFile } from "node:fs/promises";
import { InvalidArgumentError } from "commander";
import type { TopLevelSpec } from "vega-lite";
import { UserError } from "../kernels/errors.ts";

const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"];
const DASHES = [
  [1, 0],
  [6, 3],
  [2, 2],
  [8, 3, 2, 3],
  [4, 4],
  [10, 2],
  [1, 3],
];

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly series: string;
}

export interface Panel {
  /** With the unit: "position (tokens)", "time a token (ms)". */
  readonly x: string;
  readonly y: string;
  readonly points: readonly Point[];
  readonly log?: boolean;
  readonly logX?: boolean;
}

export interface LinePlot {
  /** The question that the plot answers. */
  readonly title: string;
  /** What was measured on what. */
  readonly subtitle: string;
  /** One below the other. */
  readonly panels: readonly Panel[];
}

/** The value of `--plot`: only SVG is written. */
export function svgPath(text: string): string {
  if (!text.endsWith(".svg"))
    throw new InvalidArgumentError("Expected a file name that ends in .svg.");
  return text;
}

/** Draws a plot into an SVG file. */
export async function writePlot(path: string, plot: LinePlot): Promise<void> {
  const svg = await render(plot);
  try {
    await writeFile(path, svg);
  } catch (error) {
    throw new UserError(`Cannot write ${path}: ${(error as Error).message}.`);
  }
}

async function render(plot: LinePlot): Promise<string> {
  // Loaded here, since no other command needs them.
  const [vega, vegaLite] = await Promise.all([import("vega"), import("vega-lite")]);
  const series = [
    ...new Set(plot.panels.flatMap(({ points }) => points.map((point) => point.series))),
  ];
  const spec = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    background: "white",
    padding: 12,
    title: { text: plot.title, subtitle: plot.subtitle, anchor: "start", fontSize: 15 },
    config: { axis: { labelFontSize: 11, titleFontSize: 12 }, legend: { labelFontSize: 11 } },
    vconcat: plot.panels.map(({ x, y, points, log, logX }) => ({
      width: 640,
      height: 240,
      data: { values: points },
      mark: { type: "line", point: points.length < 200, strokeWidth: 2, clip: true },
      encoding: {
        x: {
          field: "x",
          type: "quantitative",
          title: x,
          scale: logX ? { type: "log", base: 2, nice: false } : { nice: true },
          axis: logX ? { values: [...new Set(points.map((point) => point.x))], grid: true } : {},
        },
        y: {
          field: "y",
          type: "quantitative",
          title: y,
          scale: log ? { type: "log", nice: false, padding: 10 } : { zero: true },
        },
        color: {
          field: "series",
          scale: { domain: series, range: COLOURS },
          legend: { title: null },
        },
        strokeDash: {
          field: "series",
          scale: { domain: series, range: DASHES },
          legend: { title: null },
        },
      },
    })),
  } as unknown as TopLevelSpec;
  return new vega.View(vega.parse(vegaLite.compile(spec).spec), { renderer: "none" }).toSVG();
}
