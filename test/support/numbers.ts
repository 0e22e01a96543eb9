// Comparisons of numbers that say where two rows of them part.

import { expect } from "vitest";

/** Half the distance from 1 to the next f32: the relative error of one rounding. */
export const HALF_ULP = 2 ** -24;

export interface Tolerance {
  /** Of the difference itself: one for all, or one for each element. */
  readonly abs?: number | ArrayLike<number>;
  /** Of the difference relative to what is expected. */
  readonly rel?: number;
}

/** Every element within abs + rel |expected|, else an error that names the worst one. No NaN is close to anything. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { abs = 0, rel = 0 }: Tolerance,
  what = "values",
): void {
  expect(actual.length, `${what}: length`).toBe(expected.length);
  let worst = -1;
  let worstExcess = 1;
  for (let i = 0; i < expected.length; i++) {
    const allowed = (typeof abs === "number" ? abs : abs[i]!) + rel * Math.abs(expected[i]!);
    const off = Math.abs(actual[i]! - expected[i]!);
    const excess = off === 0 ? 0 : Number.isNaN(off) ? Number.POSITIVE_INFINITY : off / allowed;
    if (excess > worstExcess) [worst, worstExcess] = [i, excess];
  }
  if (worst >= 0) {
    expect.fail(
      `${what}: element ${worst} of ${expected.length} is ${actual[worst]}, expected ${expected[worst]}: ` +
        `${worstExcess.toPrecision(3)} times the tolerance`,
    );
  }
}
