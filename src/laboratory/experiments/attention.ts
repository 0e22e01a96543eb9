// Where each token of a text looks: the weights of a layer, head by head.

import { type AttentionPolicy, isVisible } from "../../context/positions/attention-policy.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Watch } from "../watch.ts";

/** Tokens that count as near a query, itself included. */
export const NEAR = 16;

/** Where a query looks: shares that add up to 1, and how spread out they are. */
interface Looks {
  /** On the sinks, or on the first token if there are none. */
  readonly first: number;
  /** On the last `NEAR` tokens. */
  readonly near: number;
  readonly between: number;
  /** Bits: 0 for a single key, log2(n) for n keys alike. */
  readonly entropy: number;
}

/** What one query gave to each key that the cache held, a mean over heads. */
interface MeanRow {
  readonly query: number;
  readonly keys: Uint32Array;
  readonly weights: Float32Array;
}

/** What was gathered while a text went through one layer. */
export interface AttentionMap {
  readonly policy: AttentionPolicy;
  /** The heads that were asked for. */
  readonly heads: readonly number[];
  /** A query each. */
  readonly rows: readonly MeanRow[];
  /** Of each head, where each query looks. */
  readonly looks: readonly (readonly Looks[])[];
}

/** Streams ids through a layer and gathers what each of them gives to the others. */
export async function attentionMap(
  engine: Engine,
  ids: readonly number[],
  { layer, heads }: { readonly layer: number; readonly heads: readonly number[] },
  { onProgress, signal }: Watch = {},
): Promise<AttentionMap> {
  const { policy } = engine.setting;
  const rows: MeanRow[] = [];
  const looks = heads.map(() => [] as Looks[]);
  onProgress?.(0, ids.length);
  for await (const { query, keys, weights } of engine.attention(ids, { layer })) {
    const mean = new Float32Array(keys.length);
    heads.forEach((head, i) => {
      const row = weights.subarray(head * keys.length, (head + 1) * keys.length);
      looks[i]!.push(looksOf({ query, keys, weights: row }, policy));
      row.forEach((weight, k) => {
        mean[k]! += weight / heads.length;
      });
    });
    rows.push({ query, keys, weights: mean });
    onProgress?.(rows.length, ids.length);
    if (signal?.aborted) break;
  }
  return { policy, heads, rows, looks };
}

/** Tokens at the start that are told apart: the sinks, or the first. */
export function firstTokens({ sinks }: AttentionPolicy): number {
  return Math.max(1, sinks);
}

/** Where a query looks. */
export function looksOf({ query, keys, weights }: MeanRow, policy: AttentionPolicy): Looks {
  let [first, near, between, entropy] = [0, 0, 0, 0];
  weights.forEach((weight, i) => {
    if (keys[i]! < firstTokens(policy)) first += weight;
    else if (query - keys[i]! < NEAR) near += weight;
    else between += weight;
    if (weight > 0) entropy -= weight * Math.log2(weight);
  });
  return { first, near, between, entropy };
}

/** Where each head looks, and all of them together: means over the second half of the text. */
export function headLooks({
  heads,
  looks,
}: AttentionMap): { readonly head: number | "mean"; readonly looks: Looks }[] {
  const each = looks.map((all, i) => ({
    head: heads[i]!,
    looks: meanLooks(all.slice(all.length >> 1)),
  }));
  return [...each, { head: "mean", looks: meanLooks(each.map(({ looks }) => looks)) }];
}

/**
 * The keys that get most from afar: the mean weight from every query at least `NEAR` tokens later.
 */
export function favourites(
  { rows }: AttentionMap,
  count: number,
): { readonly key: number; readonly weight: number }[] {
  const received = new Float64Array(Math.max(0, rows.length - NEAR));
  for (const { query, keys, weights } of rows) {
    keys.forEach((key, i) => {
      if (query - key >= NEAR) received[key]! += weights[i]!;
    });
  }
  return Array.from(received, (sum, key) => ({ key, weight: sum / (received.length - key) }))
    .sort((a, b) => b.weight - a.weight)
    .slice(0, count);
}

/** One entry for every pair of a query and a key that is not after it. */
export function* pairs({
  policy,
  rows,
}: AttentionMap): Generator<{ query: number; key: number; state: State; weight: number }> {
  for (const { query, keys, weights } of rows) {
    const place = new Map(Array.from(keys, (key, i) => [key, i]));
    for (let key = 0; key <= query; key++) {
      const at = place.get(key);
      const weight = at === undefined ? 0 : weights[at]!;
      yield { query, key, state: stateOf(query, key, at !== undefined, policy), weight };
    }
  }
}

/**
 * What a key is to a query: seen as a sink, seen otherwise, held but out of sight, or no longer in
 * the cache.
 */
export type State = "sink" | "window" | "hidden" | "evicted";

function stateOf(query: number, key: number, held: boolean, policy: AttentionPolicy): State {
  if (!held) return "evicted";
  if (!isVisible(policy, key, query)) return "hidden";
  return key < policy.sinks ? "sink" : "window";
}

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
