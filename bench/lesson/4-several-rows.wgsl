// Version 3, but a workgroup computes ROWS rows: 32 numbers of x are loaded once and multiplied with that chunk of each.
// Of memory it reads, for 32 weights: eight words as before, and 32 / ROWS numbers of x.
// Appended: the format, a reduction.
@group(0) @binding(0) var<storage, read> x: array<vec4f>;      // [K/4]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [N]

override LANES: u32 = 8;
override ROWS: u32 = 8;  // a multiple of 4, at most MAX_ROWS
const MAX_ROWS = 64u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first = group.x * ROWS;
  var sums: array<f32, MAX_ROWS>;
  for (var chunk = lane; chunk < matrix.chunks; chunk += LANES) {
    var numbers = array<vec4f, 8>();
    for (var i = 0u; i < 8u; i++) {
      numbers[i] = x[chunk * 8u + i];
    }
    for (var r = 0u; r < ROWS; r++) {
      let w = weights(min(first + r, matrix.rows - 1u), chunk);
      var sum = vec4f();
      for (var i = 0u; i < 8u; i++) {
        sum += w[i] * numbers[i];
      }
      sums[r] += dot(sum, vec4f(1.0));
    }
  }
  for (var r = 0u; r < ROWS; r += 4u) {
    let totals = sum_lanes(vec4f(sums[r], sums[r + 1u], sums[r + 2u], sums[r + 3u]), lane);
    if (lane < 4u && first + r + lane < matrix.rows) {
      y[first + r + lane] = totals[lane];
    }
  }
}
