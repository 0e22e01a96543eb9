// How far does each RoPE scaling carry a model? Perplexity by method, length and position; passkey
// retrieval by method, length and depth.

import { parseRope } from "../../context/positions/rope-choice.ts";
import type { Engine } from "../../engine/engine.ts";
import { perplexity } from "../../engine/tasks/score.ts";
import type { Watch } from "../watch.ts";
import { type PasskeyTask, passkeyAccuracy } from "./passkey.ts";
import { type Cell, type CellStore, type OpenEngine, sweep } from "./sweep.ts";

/** Parts of a window, for perplexity by position. */
export const PARTS = 8;

export interface RopeSetting {
  /** Scalings as `parseRope` reads them. */
  readonly methods: readonly string[];
  /** Tokens. */
  readonly lengths: readonly number[];
  /** Windows of the text scored at each length. */
  readonly chunks: number;
  /** Passkeys asked for at each depth. */
  readonly trials: number;
  /** Where the passkey stands, from 0 to 1. */
  readonly depths: readonly number[];
}

/** What perplexity is measured on: ids, and those that begin each window. */
export interface RopeText {
  readonly front: readonly number[];
  readonly ids: readonly number[];
}

export interface RopeResult {
  readonly kind: "perplexity" | "passkey";
  readonly method: string;
  readonly length: number;
  /** Of the number in the filler, 0 to 1; for passkey only. */
  readonly depth?: number;
  /** Perplexity, or the share of numbers given back whole. */
  readonly value: number;
  /** Perplexity of each eighth of the windows. */
  readonly byPosition?: readonly number[];
}

/**
 * Measures every method at every length. `cells`: how many results there are if nothing stops it.
 */
export async function compareScalings(
  open: OpenEngine,
  text: RopeText,
  task: PasskeyTask,
  setting: RopeSetting,
  store: CellStore<RopeResult>,
  watch: Watch = {},
): Promise<{ readonly results: readonly RopeResult[]; readonly cells: number }> {
  const engines = new CurrentEngine(open);
  const { methods, lengths } = setting;
  const cells = methods.flatMap((method) =>
    lengths.flatMap((length) => [
      perplexityCell(engines, text, setting, method, length),
      ...passkeyCells(engines, task, setting, method, length),
    ]),
  );
  try {
    const results = await sweep(cells, store, watch);
    return { results: results.filter((result) => result !== undefined), cells: cells.length };
  } finally {
    await engines.close();
  }
}

function perplexityCell(
  engines: CurrentEngine,
  { front, ids }: RopeText,
  { chunks }: RopeSetting,
  method: string,
  length: number,
): Cell<RopeResult> {
  const windows = Array.from({ length: chunks }, (_, i) => [
    ...front,
    ...ids.slice(i * length, (i + 1) * length - front.length),
  ]);
  return {
    key: ["perplexity", method, length, chunks],
    compute: async () => {
      const scored = await scoreWindows(await engines.get(method, length), windows);
      return { kind: "perplexity", method, length, ...scored };
    },
  };
}

function passkeyCells(
  engines: CurrentEngine,
  task: PasskeyTask,
  { trials, depths }: RopeSetting,
  method: string,
  length: number,
): Cell<RopeResult>[] {
  if (trials === 0) return [];
  return depths.map((depth) => ({
    key: ["passkey", method, length, depth, trials, task],
    compute: async () => {
      const engine = await engines.get(method, length);
      const room = length - task.digits - 4;
      const value = await passkeyAccuracy(engine, task, room, depth, trials);
      return { kind: "passkey", method, length, depth, value };
    },
  }));
}

/** One engine at a time, loaded for a method and a length. */
class CurrentEngine {
  readonly #open: OpenEngine;
  #key = "";
  #engine: Engine | undefined;

  constructor(open: OpenEngine) {
    this.#open = open;
  }

  async get(method: string, context: number): Promise<Engine> {
    const key = `${method} ${context}`;
    if (this.#engine && key === this.#key) return this.#engine;
    await this.close();
    this.#engine = await this.#open({ rope: parseRope(method), context });
    this.#key = key;
    return this.#engine;
  }

  async close(): Promise<void> {
    await this.#engine?.close();
    this.#engine = undefined;
  }
}

async function scoreWindows(
  engine: Engine,
  windows: readonly (readonly number[])[],
): Promise<Pick<RopeResult, "value" | "byPosition">> {
  const nll: number[] = [];
  const parts = Array.from({ length: PARTS }, () => [] as number[]);
  for (const window of windows) {
    const score = await engine.score(window);
    score.nll.forEach((value, i) => {
      nll.push(value);
      parts[Math.floor((i * PARTS) / score.nll.length)]!.push(value);
    });
  }
  return { value: perplexity(nll), byPosition: parts.map(perplexity) };
}
