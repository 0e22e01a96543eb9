// RMSNorm: y = weight * x / sqrt(mean(x^2) + EPS), or y += it.
//                                                           Zhang & Sennrich 2019, arXiv:1910.07467
//
// One workgroup a row; lanes stride over it, then `sum_lanes`. A token of STRIDE numbers may hold
// many rows of D side by side: one for the residual stream, H for norms of each head (Qwen3).
// Appended: a reduction, and the weights, of `norms/`. Memory: one vec4 a lane.
override D: u32;          // row length, a multiple of 4
override FIRST: u32 = 0;  // numbers of a token in front of the rows, in x and in y
override STRIDE: u32;     // numbers from a token to the next, in x and in y
override EPS: f32;
override ADD: u32 = 0;    // 1: to what is in y
override LANES: u32 = 32;

@group(0) @binding(0) var<storage, read> x: array<vec4f>;        // [T, parts, D]
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;  // [T, parts, D]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let origin = (group.y * STRIDE + FIRST + group.x * D) / 4u;
  var squares = vec4f();
  for (var i = lane; i < D / 4u; i += LANES) {
    squares += x[origin + i] * x[origin + i];
  }
  let mean = dot(sum_lanes(squares, lane), vec4f(1.0)) / f32(D);
  // If the squares overflow, this bit makes the infinity NaN: otherwise every number would become
  // zero.
  let bits = bitcast<u32>(mean + EPS);
  let scale = inverseSqrt(bitcast<f32>(bits | select(0u, 0x400000u, bits == 0x7f800000u)));
  for (var i = lane; i < D / 4u; i += LANES) {
    let normed = weighted(x[origin + i] * scale, group.x, i);
    if (ADD == 1u) {
      y[origin + i] += normed;
    } else {
      y[origin + i] = normed;
    }
  }
}
