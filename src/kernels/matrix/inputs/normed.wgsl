// The vectors that a matrix multiplies, normed on the way: W RMSNorm(x) = (W (norm * x)) / sqrt(mean(x^2) + EPS), so
// the root is only needed in the end, when every number has passed by.                Zhang & Sennrich 2019, arXiv:1910.07467
override EPS: f32;

var<private> squares: array<vec4f, MAX_TOKENS>;

// Four numbers of norm * x, x being row `row` and a workgroup's vector t; each is asked for once in a
// workgroup.
fn input(row: u32, t: u32, i: u32) -> vec4f {
  let numbers = x[row * matrix.chunks * 8u + i];
  squares[t] += numbers * numbers;
  return numbers * norm[min(i, matrix.columns / 4u - 1u)];  // x is zero beyond
}

// What all products of a vector are multiplied with in the end.
fn input_scale(t: u32, lane: u32) -> f32 {
  let bits = bitcast<u32>(dot(sum_lanes(squares[t], lane), vec4f(1.0)) / f32(matrix.columns) + EPS);
  return inverseSqrt(bitcast<f32>(bits | select(0u, 0x400000u, bits == 0x7f800000u)));  // an infinity is NaN: see rms-norm
}
