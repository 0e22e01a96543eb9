// Every operation of the kernels in plain TypeScript, with sums in f64: the specification that
// kernels are tested against. Shapes are those of the shaders, without padding: [T, D] is T rows of
// D numbers, last axis fastest.

export type Numbers = Float32Array | Float64Array;

/** y [T, N] = x [T, K] W^T, W [N, K]. */
export function project(
  x: Numbers,
  w: Numbers,
  tokens: number,
  n: number,
  k: number,
): Float64Array {
  const y = new Float64Array(tokens * n);
  for (let t = 0; t < tokens; t++) {
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (let j = 0; j < k; j++) sum += w[i * k + j]! * x[t * k + j]!;
      y[t * n + i] = sum;
    }
  }
  return y;
}

/** y [R, D] = weight x / sqrt(mean(x^2) + eps). */
export function rmsNorm(x: Numbers, weight: Numbers, rows: number, eps: number): Float64Array {
  const d = weight.length;
  const y = new Float64Array(rows * d);
  for (let r = 0; r < rows; r++) {
    let squares = 0;
    for (let i = 0; i < d; i++) squares += x[r * d + i]! ** 2;
    const scale = 1 / Math.sqrt(squares / d + eps);
    for (let i = 0; i < d; i++) y[r * d + i] = weight[i]! * x[r * d + i]! * scale;
  }
  return y;
}

/** y [R, D] = weight (x - mean(x)) / sqrt(variance(x) + eps) + bias. */
export function layerNorm(
  x: Numbers,
  weight: Numbers,
  bias: Numbers,
  rows: number,
  eps: number,
): Float64Array {
  const d = weight.length;
  const y = new Float64Array(rows * d);
  for (let r = 0; r < rows; r++) {
    const row = Float64Array.from(x.subarray(r * d, (r + 1) * d));
    const mean = row.reduce((a, b) => a + b, 0) / d;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / d;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < d; i++) y[r * d + i] = weight[i]! * (row[i]! - mean) * scale + bias[i]!;
  }
  return y;
}

/** The activation functions of a feed-forward, by the name of their fragment in `rows`. */
export const ACTIVATION_FUNCTIONS = {
  silu: (z: number) => z / (1 + Math.exp(-z)),
  gelu: (z: number) => (z / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z ** 3))),
  relu2: (z: number) => Math.max(z, 0) ** 2,
} as const;

export type ActivationFunction = keyof typeof ACTIVATION_FUNCTIONS;

/** A number kept within a cap: small ones stay as they are. */
export function softcap(z: number, cap: number): number {
  return cap * Math.tanh(z / cap);
}

/** activation(gate) up. */
export function gatedActivation(
  gate: Numbers,
  up: Numbers,
  activation: ActivationFunction,
): Float64Array {
  return Float64Array.from(gate, (z, i) => ACTIVATION_FUNCTIONS[activation](z) * up[i]!);
}

/**
 * x [R, E] with pair i of every row rotated by `angles[i]` and scaled by `magnitude`. The two
 * numbers of a pair are `gap` apart: 1 (neighbours) or half of the numbers that rotate (halves).
 */
export function rope(
  x: Numbers,
  angles: Numbers,
  gap: number,
  magnitude = 1,
  e = angles.length * 2,
): Float64Array {
  const y = Float64Array.from(x);
  for (let row = 0; row < x.length; row += e) {
    angles.forEach((angle, i) => {
      const a = row + (gap === 1 ? 2 * i : i);
      const b = a + gap;
      const [cos, sin] = [Math.cos(angle) * magnitude, Math.sin(angle) * magnitude];
      y[a] = x[a]! * cos - x[b]! * sin;
      y[b] = x[b]! * cos + x[a]! * sin;
    });
  }
  return y;
}

/**
 * softmax over a row; hidden entries (minus infinity) get 0, and a row without visible entries is
 * all zeros.
 */
export function softmax(scores: Numbers): Float64Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (const score of scores) largest = Math.max(largest, score);
  if (largest === Number.NEGATIVE_INFINITY) return new Float64Array(scores.length);
  const powers = Float64Array.from(scores, (score) => Math.exp(score - largest));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

/**
 * One head: output [E] = softmax(score(j)) V over keys 0..n-1, where `score` is minus infinity for
 * a hidden key. `values` [n, E].
 */
export function attend(
  score: (key: number) => number,
  values: Numbers,
  n: number,
  e: number,
): Float64Array {
  const weights = softmax(Float64Array.from({ length: n }, (_, j) => score(j)));
  const output = new Float64Array(e);
  for (let j = 0; j < n; j++) {
    for (let i = 0; i < e; i++) output[i]! += weights[j]! * values[j * e + i]!;
  }
  return output;
}
