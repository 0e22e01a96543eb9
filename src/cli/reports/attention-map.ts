// Attention weights as a picture and as figures: gathered during a text, head by head.

import { type AttentionPolicy, isVisible } from "../../context/positions/attention-policy.ts";
import type { AttentionRow } from "../../engine/run/attention-probe.ts";
import { frame, writePicture } from "./picture.ts";
import { linePanel } from "./plot.ts";

/** Tokens that count as near a query, itself included. */
export const NEAR = 16;

/** Squares of the picture along each axis, at most: longer texts are drawn by groups of tokens. */
const SQUARES = 128;

/** Smaller weights get the colour of this one. */
const FAINT = 1e-4;

/** Where a query looks: shares that add up to 1, and how spread out they are. */
export interface Looks {
  /** On the sinks, or on the first token if there are none. */
  readonly first: number;
  /** On the last `NEAR` tokens. */
  readonly near: number;
  readonly between: number;
  /** Bits: 0 for a single key, log2(n) for n keys alike. */
  readonly entropy: number;
}

/** What one query gave to each key that the cache held, a mean over heads. */
export interface MeanRow {
  readonly query: number;
  readonly keys: Uint32Array;
  readonly weights: Float32Array;
}

export class AttentionMap {
  readonly policy: AttentionPolicy;
  /** The requested heads. */
  readonly heads: readonly number[];
  readonly rows: MeanRow[] = [];
  readonly #looks: Looks[][];

  constructor(policy: AttentionPolicy, heads: readonly number[]) {
    this.policy = policy;
    this.heads = heads;
    this.#looks = heads.map(() => []);
  }

  /** Tokens at the start that are told apart: the sinks, or the first. */
  get first(): number {
    return Math.max(1, this.policy.sinks);
  }

  add({ query, keys, weights }: AttentionRow): void {
    const mean = new Float32Array(keys.length);
    this.heads.forEach((head, i) => {
      const row = weights.subarray(head * keys.length, (head + 1) * keys.length);
      this.#looks[i]!.push(this.looks({ query, keys, weights: row }));
      row.forEach((weight, k) => {
        mean[k]! += weight / this.heads.length;
      });
    });
    this.rows.push({ query, keys, weights: mean });
  }

  /** Where each head looks, and all of them together: means over the second half of the text. */
  summary(): { readonly head: number | "mean"; readonly looks: Looks }[] {
    const half = <T>(list: readonly T[]) => list.slice(list.length >> 1);
    const each = this.#looks.map((looks, i) => ({
      head: this.heads[i]!,
      looks: meanLooks(half(looks)),
    }));
    return [...each, { head: "mean", looks: meanLooks(each.map(({ looks }) => looks)) }];
  }

  looks({ query, keys, weights }: MeanRow): Looks {
    let [first, near, between, entropy] = [0, 0, 0, 0];
    weights.forEach((weight, i) => {
      if (keys[i]! < this.first) first += weight;
      else if (query - keys[i]! < NEAR) near += weight;
      else between += weight;
      if (weight > 0) entropy -= weight * Math.log2(weight);
    });
    return { first, near, between, entropy };
  }

  /**
   * The keys that get most from afar: the mean weight from every query at least `NEAR` tokens
   * later.
   */
  favourites(count: number): { readonly key: number; readonly weight: number }[] {
    const received = new Float64Array(Math.max(0, this.rows.length - NEAR));
    for (const { query, keys, weights } of this.rows) {
      keys.forEach((key, i) => {
        if (query - key >= NEAR) received[key]! += weights[i]!;
      });
    }
    return Array.from(received, (sum, key) => ({ key, weight: sum / (received.length - key) }))
      .sort((a, b) => b.weight - a.weight)
      .slice(0, count);
  }

  /** One entry for every pair of a query and a key that is not after it. */
  *pairs(): Generator<{ query: number; key: number; state: State; weight: number }> {
    for (const row of this.rows) {
      const place = new Map(Array.from(row.keys, (key, i) => [key, i]));
      for (let key = 0; key <= row.query; key++) {
        const at = place.get(key);
        const weight = at === undefined ? 0 : row.weights[at]!;
        yield {
          query: row.query,
          key,
          state: this.#state(row.query, key, at !== undefined),
          weight,
        };
      }
    }
  }

  #state(query: number, key: number, held: boolean): State {
    if (!held) return "evicted";
    if (!isVisible(this.policy, key, query)) return "hidden";
    return key < this.policy.sinks ? "sink" : "window";
  }
}

/**
 * What a key is to a query: seen as a sink, seen otherwise, held but out of sight, or no longer in
 * the cache.
 */
export type State = "sink" | "window" | "hidden" | "evicted";

function meanLooks(all: readonly Looks[]): Looks {
  const mean = (pick: (looks: Looks) => number) =>
    all.reduce((sum, looks) => sum + pick(looks), 0) / all.length;
  return {
    first: mean((looks) => looks.first),
    near: mean((looks) => looks.near),
    between: mean((looks) => looks.between),
    entropy: mean((looks) => looks.entropy),
  };
}

/**
 * A square of the picture: keys [x, x2) before queries [y, y2), and the weight that a query there
 * gives to all of them.
 */
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
  for (const { query, key, state, weight } of map.pairs()) {
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
    meanLooks(map.rows.slice(i * side, (i + 1) * side).map((row) => map.looks(row))),
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
