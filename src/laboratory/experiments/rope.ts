// How far does each RoPE scaling carry a model? Perplexity by method, length and position.

import type { Engine } from "../../engine/engine.ts";
import { perplexity } from "../../engine/tasks/score.ts";

/** Parts of a window, for perplexity by position. */
export const PARTS = 8;

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

export async function scoreWindows(
  engine: Engine,
  windows: readonly (readonly number[])[],
  method: string,
  length: number,
): Promise<RopeResult> {
  const nll: number[] = [];
  const parts = Array.from({ length: PARTS }, () => [] as number[]);
  for (const window of windows) {
    const score = await engine.score(window);
    score.nll.forEach((value, i) => {
      nll.push(value);
      parts[Math.floor((i * PARTS) / score.nll.length)]!.push(value);
    });
  }
  return {
    kind: "perplexity",
    method,
    length,
    value: perplexity(nll),
    byPosition: parts.map(perplexity),
  };
}
