// As matvec.wgsl, but for subgroups of eight, which are workgroups, and with loads in another order: each lane takes SPAN
// chunks of a row before the next row. Where a row is no longer than that, the matrix is read from end to end. A total is
// complete when the lanes have exchanged their sums; lane i of eight keeps that of every eighth row from the i-th on.
// Appended: as for matvec.wgsl; the reduction is the one of eight lanes.
override ROWS: u32 = 64;  // a multiple of 8, at most MAX_ROWS
const SPAN = 3u;
const LANES = 8u;
const MAX_ROWS = 1024u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  var totals: array<f32, MAX_ROWS / 8u>;
  for (var start = 0u; start < matrix.chunks; start += SPAN * LANES) {
    var chunks = array<u32, SPAN>();
    var numbers = array<array<vec4f, 8>, SPAN>();
    var halves = array<vec2f, SPAN>();
    for (var s = 0u; s < SPAN; s++) {
      let chunk = start + s * LANES + lane;
      chunks[s] = min(chunk, matrix.chunks - 1u);  // beyond the row: one that exists, times zeros
      if (chunk < matrix.chunks) {
        for (var i = 0u; i < 8u; i++) {
          numbers[s][i] = input(0u, 0u, chunk * 8u + i);
          halves[s][i >> 2u] += dot(numbers[s][i], vec4f(1.0));
        }
      }
    }
    for (var e = 0u; e < ROWS / 8u; e++) {
      var total = 0.0;
      for (var r = 0u; r < 8u; r++) {
        let row = row_of(group.x, 8u * e + r);
        var sum = 0.0;
        for (var s = 0u; s < SPAN; s++) {
          let packed_scales = packed_scales_of(super_of(row, chunks[s]));
          let packed = packed_of(block_of(row, chunks[s]));
          sum += chunk_dot(packed_scales, chunks[s] % 8u, packed, &numbers[s], halves[s]);
        }
        total += select(0.0, sum_lanes(vec4f(sum), lane).x, lane == r);
      }
      totals[e] += total;
    }
  }
  output(group.x, 0u, &totals, input_scale(0u, lane), lane);
}
