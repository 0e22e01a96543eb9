// No product, but a probe: everything that version 5 loads, and next to nothing done with it.
// Appended: the format, for its planes; a reduction.
@group(0) @binding(0) var<storage, read> x: array<vec4f>;      // [K/4]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [N]

override LANES: u32 = 8;
override ROWS: u32 = 64;
const MOST = 64u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first = group.x * ROWS;
  var sums: array<f32, MOST>;
  for (var chunk = lane; chunk < matrix.chunks; chunk += LANES) {
    var numbers = vec4f();
    for (var i = 0u; i < 8u; i++) {
      numbers += x[chunk * 8u + i];
    }
    for (var r = 0u; r < ROWS; r++) {
      let block = min(first + r, matrix.rows - 1u) * matrix.chunks + chunk;
      let q = quants[block];
      sums[r] += f32(q.x ^ q.y ^ q.z ^ q.w ^ scales[block / 2u] ^ supers[block / 8u]) * numbers.x;
    }
  }
  for (var r = 0u; r < ROWS; r += 4u) {
    let totals = sum_lanes(vec4f(sums[r], sums[r + 1u], sums[r + 2u], sums[r + 3u]), lane);
    if (lane < 4u && first + r + lane < matrix.rows) {
      y[first + r + lane] = totals[lane];
    }
  }
}
