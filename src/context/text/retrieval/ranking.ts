// Rankings of texts by their scores, and one score out of several.

/**
 * Indices by descending score; of equal ones, the earlier first. Only indices for which `isRanked`
 * holds have a rank.
 */
export function ranking(
  scores: Float64Array,
  isRanked: (index: number) => boolean = () => true,
): number[] {
  const indices = Array.from(scores.keys()).filter(isRanked);
  return indices.sort((a, b) => scores[b]! - scores[a]! || a - b);
}

/**
 * The sums of scores of different kinds [N], each standardised first: as standard deviations above
 * the mean of its kind. So a text that stands out by one kind is found even if the other kind says
 * little, as with the few windows that hold rare words of a question; by ranks alone (reciprocal
 * rank fusion) they would not stand out. `bench/retrieval.ts` has both.
 *                       Montague and Aslam, Relevance score normalization for metasearch, CIKM 2001
 */
export function fuse(kinds: readonly Float64Array[]): Float64Array {
  const [first = new Float64Array(), ...rest] = kinds.map(standardised);
  return first.map((score, i) => rest.reduce((sum, other) => sum + other[i]!, score));
}

function standardised(scores: Float64Array): Float64Array {
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  const variance = scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / scores.length;
  const deviation = Math.sqrt(variance) || 1; // all equal: none stands out
  return scores.map((score) => (score - mean) / deviation);
}

/** The cosines of one vector with many [N] of [D], all of length 1. */
export function cosines(vector: Float32Array, vectors: readonly Float32Array[]): Float64Array {
  return Float64Array.from(vectors, (other) => {
    let sum = 0;
    for (let i = 0; i < vector.length; i++) sum += vector[i]! * other[i]!;
    return sum;
  });
}
