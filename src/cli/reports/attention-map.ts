// Attention weights as a picture: what was gathered while a text went through, head by head.

import {
  type AttentionMap,
  looksOf,
  meanLooks,
  NEAR,
  pairs,
  type State,
} from "../../laboratory/experiments/attention.ts";
import { frame, writePicture } from "./picture.ts";
import { linePanel } from "./plot.ts";

/** Squares of the picture along each axis, at most: longer texts are drawn by groups of tokens. */
const SQUARES = 128;

/** Smaller weights get the colour of this one. */
const FAINT = 1e-4;

/** A square of the picture: keys [x, x2) before queries [y, y2), and the weight that a query there gives to all of them. */
interface Square {
  readonly x: number;
  readonly x2: number;
  readonly y: number;
  readonly y2: number;
  readonly weight: number;
  readonly state: State;
}

function squares(map: AttentionMap): Square[] {
  const side = Math.ceil(map.rows.length / SQUARES);
  const found = new Map<string, { x: number; y: number; sum: number; states: Set<State> }>();
  for (const { query, key, state, weight } of pairs(map)) {
    const [x, y] = [Math.floor(key / side), Math.floor(query / side)];
    const square = found.get(`${x} ${y}`) ?? { x, y, sum: 0, states: new Set() };
    square.sum += weight;
    square.states.add(state);
    found.set(`${x} ${y}`, square);
  }
  const end = map.rows.length;
  return [...found.values()].map(({ x, y, sum, states }) => {
    const [x2, y2] = [Math.min(end, (x + 1) * side), Math.min(end, (y + 1) * side)];
    const order: State[] = ["sink", "window", "hidden", "evicted"];
    const state = order.find((one) => states.has(one))!;
    return { x: x * side, x2, y: y * side, y2, weight: sum / (y2 - y * side), state };
  });
}

const UNSEEN = { hidden: "held, out of the window", evicted: "evicted" } as const;

/** Draws the map, and below it the shares of attention along the text. */
export function drawAttention(path: string, map: AttentionMap, subtitle: string): Promise<void> {
  const all = squares(map);
  const seen = all.filter(({ state }) => state === "sink" || state === "window");
  const unseen = all.flatMap(({ state, ...square }) =>
    state === "hidden" || state === "evicted" ? [{ ...square, state: UNSEEN[state] }] : [],
  );
  const end = map.rows.length;
  const axis = (field: string, title: string, reverse: boolean) => ({
    field,
    type: "quantitative",
    title,
    scale: { domain: [0, end], nice: false, reverse },
    axis: { grid: false },
  });
  const place = {
    x: axis("x", "key: position (tokens)", false),
    x2: { field: "x2" },
    y: axis("y", "query: position (tokens)", true),
    y2: { field: "y2" },
  };
  const { sinks } = map.policy;
  const notes = [
    ...(sinks > 0 ? [`left of the line: the ${sinks} sinks`] : []),
    "above the diagonal: not written yet",
  ];
  const heat = {
    width: 560,
    height: 560,
    layer: [
      {
        data: { values: unseen },
        mark: { type: "rect", stroke: null },
        encoding: {
          ...place,
          color: {
            field: "state",
            scale: { domain: Object.values(UNSEEN), range: ["#c9c9c9", "#8a8a8a"] },
            legend: { title: null },
          },
        },
      },
      {
        data: { values: seen },
        mark: { type: "rect", stroke: null },
        encoding: {
          ...place,
          color: {
            field: "weight",
            type: "quantitative",
            scale: { type: "log", domain: [FAINT, 1], clamp: true, scheme: "viridis" },
            legend: { title: "weight", format: "~g", values: [1e-4, 1e-3, 1e-2, 0.1, 1] },
          },
        },
      },
      ...(sinks > 0
        ? [
            {
              data: { values: [{}] },
              mark: { type: "rule", strokeDash: [4, 3] },
              encoding: { x: { datum: sinks } },
            },
          ]
        : []),
      {
        data: { values: notes.map((text, i) => ({ text, y: ((i + 1) * end) / 24 })) },
        mark: { type: "text", align: "right", fontSize: 11, color: "#444444" },
        encoding: {
          x: { datum: end * 0.98 },
          y: { field: "y", type: "quantitative" },
          text: { field: "text" },
        },
      },
    ],
    resolve: { scale: { color: "independent" } },
  };
  return writePicture(path, {
    ...frame("Where does each token look?", subtitle),
    vconcat: [heat, sharesPanel(map)],
    resolve: { scale: { color: "independent", strokeDash: "independent" } },
  });
}

function sharesPanel(map: AttentionMap) {
  const side = Math.ceil(map.rows.length / SQUARES);
  const names = {
    first: map.policy.sinks > 0 ? `the ${map.policy.sinks} sinks` : "the first token",
    near: `the last ${NEAR} tokens`,
    between: "between",
  };
  const groups = Array.from({ length: Math.ceil(map.rows.length / side) }, (_, i) =>
    meanLooks(map.rows.slice(i * side, (i + 1) * side).map((row) => looksOf(row, map.policy))),
  );
  const points = Object.entries(names).flatMap(([name, series]) =>
    groups.map((looks, i) => ({
      x: (i + 0.5) * side,
      y: looks[name as keyof typeof names],
      series,
    })),
  );
  const panel = { x: "query: position (tokens)", y: "share of the attention", points };
  return { ...linePanel(panel, Object.values(names)), width: 560, height: 160 };
}
