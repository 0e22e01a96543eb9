// W x: a matrix of packed weights times one vector. Decoding spends its time on this shader, and on
// `matvec-cpu`.
//
// A workgroup computes ROWS rows. Lane i takes chunks i, i + LANES, ... of the row: it loads its 32
// numbers of x once and multiplies them with that chunk of every row, so neighbouring lanes read
// neighbouring bytes of W, and each number of x is loaded once for ROWS rows. Memory: registers.
// Appended: a weight format; of `inputs/`, where x [K] lies and whether it is normed on the way; of
// `outputs/`, which rows of W these are and what becomes of their products; a reduction.
override LANES: u32 = 32;  // a power of two, at least 8
override ROWS: u32 = 8;  // a multiple of 8, at most MAX_ROWS
const MAX_ROWS = 64u;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let place = group.y * groups.x + group.x;
  var sums: array<f32, MAX_ROWS>;
  for (var chunk = lane; chunk < matrix.chunks; chunk += LANES) {
    var numbers = array<vec4f, 8>();
    var halves = vec2f();
    for (var i = 0u; i < 8u; i++) {
      numbers[i] = input(chunk * 8u + i);
      halves[i >> 2u] += dot(numbers[i], vec4f(1.0));
    }
    for (var r = 0u; r < ROWS; r++) {
      let row = row_of(place, r);
      let packed_scales = packed_scales_of(super_of(row, chunk));
      sums[r] += chunk_dot(packed_scales, chunk % 8u, packed_of(block_of(row, chunk)), &numbers, halves);
    }
  }
  var totals: array<f32, MAX_ROWS / 8u>;  // lane i holds that of row 8 e + i
  for (var e = 0u; e < ROWS / 8u; e++) {
    let r = 8u * e;
    let low = vec4f(sums[r], sums[r + 1u], sums[r + 2u], sums[r + 3u]);
    let high = vec4f(sums[r + 4u], sums[r + 5u], sums[r + 6u], sums[r + 7u]);
    let four = select(sum_lanes(low, lane), sum_lanes(high, lane), (lane & 4u) != 0u);
    totals[e] = four[lane & 3u];
  }
  output(place, &totals, input_scale(lane), lane);
}
