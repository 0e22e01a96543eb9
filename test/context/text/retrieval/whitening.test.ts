// Whitened vectors against the inverse of their covariance, by elimination.

import { describe, expect, test } from "vitest";
import { cosines } from "../../../../src/context/text/retrieval/ranking.ts";
import { whitening } from "../../../../src/context/text/retrieval/whitening.ts";
import { randomFloats } from "../../../../src/laboratory/kernels/random.ts";

const D = 6;

/** Vectors of very different widths along directions that are none of the axes, around a point far from 0. */
function vectorsLike(count: number, seed: number): Float32Array[] {
  const directions = Array.from({ length: D }, (_, d) => randomFloats(100 + d, D, 1));
  return Array.from({ length: count }, (_, n) => {
    const along = randomFloats(seed + n, D, 1);
    return Float32Array.from({ length: D }, (_, i) =>
      directions.reduce((sum, direction, d) => sum + 2 ** -d * along[d]! * direction[i]!, 3),
    );
  });
}

/** x with A x = b, by elimination with pivots. */
function solve(matrix: readonly (readonly number[])[], b: readonly number[]): number[] {
  const rows = matrix.map((row, i) => [...row, b[i]!]);
  for (let c = 0; c < D; c++) {
    const pivot = rows
      .slice(c)
      .reduce((best, row) => (Math.abs(row[c]!) > Math.abs(best[c]!) ? row : best));
    rows.splice(rows.indexOf(pivot), 1);
    rows.splice(c, 0, pivot);
    for (const [r, row] of rows.entries()) {
      const factor = row[c]! / pivot[c]!;
      if (r !== c) for (let k = c; k <= D; k++) row[k]! -= factor * pivot[k]!;
    }
  }
  return rows.map((row, i) => row[D]! / row[i]!);
}

/** The cosine of two vectors in the metric of the inverse covariance, with a tenth of D imaginary vectors around 0. */
function byHand(vectors: readonly Float32Array[], a: Float32Array, b: Float32Array): number {
  const prior = 0.1 * D;
  const mean = Array.from(
    { length: D },
    (_, i) => vectors.reduce((sum, v) => sum + v[i]!, 0) / (vectors.length + prior),
  );
  const centred = (v: Float32Array) => Array.from(v, (value, i) => value - mean[i]!);
  const matrix = mean.map((_, i) =>
    mean.map((_, j) => vectors.reduce((sum, v) => sum + centred(v)[i]! * centred(v)[j]!, 0)),
  );
  const width = matrix.reduce((sum, row, i) => sum + row[i]!, 0) / D / vectors.length;
  for (const [i, row] of matrix.entries()) row[i]! += prior * width;
  const product = (x: number[], y: number[]) =>
    solve(matrix, y).reduce((sum, value, i) => sum + value * x[i]!, 0);
  const [x, y] = [centred(a), centred(b)];
  return product(x, y) / Math.sqrt(product(x, x) * product(y, y));
}

describe.each([2, 5, 40])("%i vectors", (count) => {
  const vectors = vectorsLike(count, 7);
  const others = vectorsLike(4, 900);

  test("cosines are those of the inverse covariance", () => {
    const place = whitening(vectors, D);
    const placed = vectors.map(place);
    for (const other of others) {
      const found = cosines(place(other), placed);
      // Placed vectors are rounded to f32.
      for (const [i, vector] of vectors.entries())
        expect(found[i]).toBeCloseTo(byHand(vectors, other, vector), 5);
    }
  });
});

test("without vectors, or with one, there is still a place for others", () => {
  const [a, b] = vectorsLike(2, 50) as [Float32Array, Float32Array];
  const plain = (x: Float32Array, y: Float32Array) =>
    x.reduce((sum, value, i) => sum + value * y[i]!, 0) / (Math.hypot(...x) * Math.hypot(...y));
  const none = whitening([], D);
  expect(cosines(none(a), [none(b)])[0]).toBeCloseTo(plain(a, b), 6);
  const one = whitening([a], D);
  expect(cosines(one(a), [one(a), one(b)])).toEqual(expect.objectContaining({ length: 2 }));
  expect(cosines(one(a), [one(a)])[0]).toBeCloseTo(1, 6);
});
