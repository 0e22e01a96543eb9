// Where each token of a text looks: the weights of a layer, head by head.

import { type AttentionPolicy, isVisible } from "../../context/positions/attention-policy.ts";
import type { AttentionRow } from "../../engine/run/attention-probe.ts";

/** Tokens that count as near a query, itself included. */
export const NEAR = 16;

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
  /** The heads that were asked for. */
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

  /** The keys that get most from afar: the mean weight from every query at least `NEAR` tokens later. */
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

/** What a key is to a query: seen as a sink, seen otherwise, held but out of sight, or no longer in the cache. */
export type State = "sink" | "window" | "hidden" | "evicted";

export function meanLooks(all: readonly Looks[]): Looks {
  const mean = (pick: (looks: Looks) => number) =>
    all.reduce((sum, looks) => sum + pick(looks), 0) / all.length;
  return {
    first: mean((looks) => looks.first),
    near: mean((looks) => looks.near),
    between: mean((looks) => looks.between),
    entropy: mean((looks) => looks.entropy),
  };
}
