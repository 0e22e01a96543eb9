// Line plots. Colours are Okabe and Ito's, which colour-blind readers can tell apart, and series
// differ in dash too.

import { frame, writePicture } from "./picture.ts";

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

/** At most this many places on the x axis are all labelled. */
const MARKED = 10;

interface Point {
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

interface LinePlot {
  /** The question that the plot answers. */
  readonly title: string;
  /** What was measured on what. */
  readonly subtitle: string;
  /** One below the other. */
  readonly panels: readonly Panel[];
}

/** Draws a plot into a file. */
export function writePlot(path: string, { title, subtitle, panels }: LinePlot): Promise<void> {
  const all = panels.flatMap(({ points }) => points.map(({ series }) => series));
  const series = [...new Set(all)];
  return writePicture(path, {
    ...frame(title, subtitle),
    vconcat: panels.map((panel) => linePanel(panel, series)),
  });
}

/** One panel; `series` are those of all panels, so that each keeps its colour. */
export function linePanel({ x, y, points, log, logX }: Panel, series: readonly string[]) {
  const xs = [...new Set(points.map((point) => point.x))];
  return {
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
        axis: logX || xs.length <= MARKED ? { values: xs, grid: true } : {},
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
  };
}
