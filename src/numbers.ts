// Small computations on numbers that several folders share.

/** The median; NaN for an empty list. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (i: number) => sorted[i] ?? Number.NaN;
  return (at((sorted.length - 1) >> 1) + at(sorted.length >> 1)) / 2;
}

/** The least of the values that a share of all, 0 to 1, is not above; NaN for an empty list. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/**
 * Normalised mean square error: the sum of squared differences over the sum of squares of what is
 * expected. NaN if a number is NaN, so compare as `error <= tolerance`.
 */
export function nmse(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [differences, squares] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    differences += (found[i]! - expected[i]!) ** 2;
    squares += expected[i]! ** 2;
  }
  return differences / squares;
}

/** The index of the largest value, the first of equals; 0 for an empty list. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/**
 * The largest whole number from `low` to `high` for which a predicate holds. It must hold for
 * `low`, and for all numbers below one for which it holds. Doubles its steps, then halves: it never
 * tries more than twice the result, even if `high` is huge.
 */
export function largestThat(low: number, high: number, holds: (n: number) => boolean): number {
  let fails = high + 1;
  for (let step = 1; low < high && fails > high; step *= 2) {
    const next = Math.min(low + step, high);
    if (holds(next)) low = next;
    else fails = next;
  }
  while (fails - low > 1) {
    const middle = Math.floor((low + fails) / 2);
    if (holds(middle)) low = middle;
    else fails = middle;
  }
  return low;
}
