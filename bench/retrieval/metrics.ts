// How good a ranking is, given what was judged relevant.

/** What each relevant document is worth, by its number: more than 0. */
export type Gains = ReadonlyMap<number, number>;

/**
 * Normalised discounted cumulative gain of the first k: sum of gain / log2(1 + rank), over that of the best ranking there is.
 * Järvelin and Kekäläinen, ACM TOIS 20(4), 2002, with the discount and the linear gain of trec_eval's ndcg_cut.
 */
export function ndcg(ranked: readonly number[], gains: Gains, k: number): number {
  const ideal = [...gains.values()].sort((a, b) => b - a);
  const best = discounted(ideal, k);
  const found = ranked.map((document) => gains.get(document) ?? 0);
  return best > 0 ? discounted(found, k) / best : 0;
}

function discounted(gains: readonly number[], k: number): number {
  return gains.slice(0, k).reduce((sum, gain, i) => sum + gain / Math.log2(i + 2), 0);
}

/** The share of the relevant documents that are among the first k. */
export function recall(ranked: readonly number[], gains: Gains, k: number): number {
  const found = ranked.slice(0, k).filter((document) => gains.has(document));
  return gains.size > 0 ? found.length / gains.size : 0;
}
