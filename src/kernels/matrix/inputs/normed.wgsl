// Vector input with a fused norm: W RMSNorm(x) = (W (norm * x)) / sqrt(mean(x^2) + EPS). The
// sum of squares is gathered while x is read, and the products are divided by the root at the end.
//                                                           Zhang & Sennrich 2019, arXiv:1910.07467
override EPS: f32;

var<private> squares: vec4f;

// Four numbers of norm * x. Called once a workgroup for each i, so that squares count once.
fn input(i: u32) -> vec4f {
  let numbers = x[i];
  squares += numbers * numbers;
  return numbers * norm[min(i, matrix.columns / 4u - 1u)];  // x is zero beyond
}

// The factor of all products.
fn input_scale(lane: u32) -> f32 {
  let bits = bitcast<u32>(dot(sum_lanes(squares, lane), vec4f(1.0)) / f32(matrix.columns) + EPS);
  return inverseSqrt(bitcast<f32>(bits | select(0u, 0x400000u, bits == 0x7f800000u)));  // an infinity is NaN: see rms-norm
}
