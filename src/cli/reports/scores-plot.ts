// The scores of all windows of an index for one question, in every mode: what stands out, and from
// what.

import type { RetrievalMode } from "../../context/text/retrieval/text-index.ts";
import type { WindowScores } from "../../laboratory/experiments/retrieval.ts";
import { frame, writePicture } from "./picture.ts";

const UNITS: Readonly<Record<RetrievalMode, string>> = {
  embedding: "cosine",
  bm25: "BM25",
  hybrid: "both, standardised",
};
const FOUND = "#D55E00";
const OTHERS = "#999999";

/** Draws a panel a mode: a stem for each window, those that would be retrieved in colour and with their rank. */
export function plotScores(
  path: string,
  question: string,
  found: readonly WindowScores[],
): Promise<void> {
  const panels = found.map(({ mode, scores, best }) => {
    const points = Array.from(scores, (score, i) => ({
      window: i + 1,
      score,
      rank: best.includes(i) ? `${best.indexOf(i) + 1}` : "",
    }));
    return panel(UNITS[mode], points);
  });
  return writePicture(path, {
    ...frame(
      "Which windows does a question find?",
      `"${shortened(question)}": ${found[0]?.scores.length} windows`,
    ),
    vconcat: panels,
  });
}

const LONGEST = 60;

function shortened(text: string): string {
  const line = text.replaceAll(/\s+/g, " ");
  return line.length <= LONGEST ? line : `${line.slice(0, LONGEST)}…`;
}

function panel(y: string, points: readonly { window: number; score: number; rank: string }[]) {
  const x = {
    field: "window",
    type: "quantitative",
    title: "window",
    axis: { tickMinStep: 1 },
    scale: { domain: [0, points.length + 1], nice: false },
  };
  const score = { field: "score", type: "quantitative", title: y, scale: { zero: true } };
  const color = { condition: { test: "datum.rank !== ''", value: FOUND }, value: OTHERS };
  return {
    width: 640,
    height: 160,
    data: { values: points },
    layer: [
      {
        mark: { type: "rule", strokeWidth: 1 },
        encoding: { x, y: score, y2: { datum: 0 }, color },
      },
      { mark: { type: "point", filled: true, size: 24 }, encoding: { x, y: score, color } },
      {
        transform: [{ filter: "datum.rank !== ''" }],
        mark: { type: "text", dy: -9, fontWeight: "bold" },
        encoding: { x, y: score, text: { field: "rank" }, color: { value: FOUND } },
      },
    ],
  };
}
