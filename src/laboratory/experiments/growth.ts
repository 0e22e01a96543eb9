// What benches make of samples. How a cost grows: does the time of a step stay the same, or does it
// rise with the position?

export interface Growth {
  /** Least squares through (position, cost): cost = base + slope * position. */
  readonly base: number;
  readonly slope: number;
  /** Share of the variance that the slope explains. */
  readonly r2: number;
  /**
   * Of the sum over all positions: a constant cost adds up linearly, a rising one quadratically.
   */
  readonly total: "linear" | "quadratic";
}

/**
 * Fits a line through costs by position. The total counts as quadratic where the fitted cost at the
 * last position is more than twice that at the first and the line explains most of what varies;
 * medians are not needed, since one slow step in many moves neither.
 */
export function growth(positions: readonly number[], costs: readonly number[]): Growth {
  const n = positions.length;
  const meanX = sum(positions) / n;
  const meanY = sum(costs) / n;
  const sxx = sum(positions.map((x) => (x - meanX) ** 2));
  const sxy = sum(positions.map((x, i) => (x - meanX) * (costs[i]! - meanY)));
  const syy = sum(costs.map((y) => (y - meanY) ** 2));
  const slope = sxx > 0 ? sxy / sxx : 0;
  const base = meanY - slope * meanX;
  const r2 = syy > 0 ? (slope * sxy) / syy : 0;
  const [first, last] = [base + slope * positions[0]!, base + slope * positions.at(-1)!];
  return {
    base,
    slope,
    r2,
    total: last > 2 * Math.max(first, 0) && r2 > 0.5 ? "quadratic" : "linear",
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
