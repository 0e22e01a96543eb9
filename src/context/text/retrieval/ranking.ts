// Rankings of texts by their scores, and one ranking out of several.

/** The k of reciprocal rank fusion, as published. */
const RRF_K = 60;

/** Indices by descending score; of equal ones, the earlier first. What `isRanked` leaves out has no rank. */
export function ranking(
  scores: Float64Array,
  isRanked: (index: number) => boolean = () => true,
): number[] {
  const indices = Array.from(scores.keys()).filter(isRanked);
  return indices.sort((a, b) => scores[b]! - scores[a]! || a - b);
}

/**
 * Reciprocal rank fusion: score [N] = sum over rankings of 1 / (k + rank), the first rank being 1. Scores of different kinds
 * need not be comparable.                     Cormack, Clarke and Buettcher, SIGIR 2009, doi:10.1145/1571941.1572114
 */
export function fuse(rankings: readonly (readonly number[])[], count: number): Float64Array {
  const scores = new Float64Array(count);
  for (const ranked of rankings) {
    for (const [i, index] of ranked.entries()) scores[index]! += 1 / (RRF_K + i + 1);
  }
  return scores;
}

/** The cosines of one vector with many [N, D], all of length 1. */
export function cosines(vector: Float32Array, vectors: readonly Float32Array[]): Float64Array {
  return Float64Array.from(vectors, (other) => {
    let sum = 0;
    for (let i = 0; i < vector.length; i++) sum += vector[i]! * other[i]!;
    return sum;
  });
}
