// LayerNorm: y = weight * (x - mean(x)) / sqrt(variance(x) + EPS) + bias, or y += it.
//                                                                 Ba et al. 2016, arXiv:1607.06450
//
// One workgroup a row, as in `rms-norm`. Appended: a reduction, and the weights, of `norms/`. The
// variance is that of the deviations from the mean, as mean(x^2) - mean(x)^2 would lose the digits
// that both have in common. Memory: one vec4 a lane.
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
  var sums = vec4f();
  for (var i = lane; i < D / 4u; i += LANES) {
    sums += x[origin + i];
  }
  let mean = dot(sum_lanes(sums, lane), vec4f(1.0)) / f32(D);
  var squares = vec4f();
  for (var i = lane; i < D / 4u; i += LANES) {
    let deviation = x[origin + i] - mean;
    squares += deviation * deviation;
  }
  let variance = dot(sum_lanes(squares, lane), vec4f(1.0)) / f32(D);
  let bits = bitcast<u32>(variance + EPS);
  let scale = inverseSqrt(bitcast<f32>(bits | select(0u, 0x400000u, bits == 0x7f800000u)));  // as in `rms-norm`
  for (var i = lane; i < D / 4u; i += LANES) {
    let normed = weighted((x[origin + i] - mean) * scale, group.x, i);
    if (ADD == 1u) {
      y[origin + i] += normed;
    } else {
      y[origin + i] = normed;
    }
  }
}
