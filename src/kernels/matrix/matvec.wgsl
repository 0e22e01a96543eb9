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
override TOKENS: u32 = 1;  // at most MAX_TOKENS
const MAX_ROWS = 64u;
const MAX_TOKENS = 4u;

struct Params {
  tokens: u32,  // T
}
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let place = group.y * groups.x + group.x;
  let first = group.z * TOKENS;
  let last = params.tokens - 1u;
  var sums: array<array<f32, MAX_ROWS>, MAX_TOKENS>;
  for (var chunk = lane; chunk < matrix.chunks; chunk += LANES) {
    var numbers = array<array<vec4f, 8>, MAX_TOKENS>();
    var halves = array<vec2f, MAX_TOKENS>();
    for (var t = 0u; t < TOKENS; t++) {
      for (var i = 0u; i < 8u; i++) {
        numbers[t][i] = input(min(first + t, last), t, chunk * 8u + i);
        halves[t][i >> 2u] += dot(numbers[t][i], vec4f(1.0));
      }
    }
    for (var r = 0u; r < ROWS; r++) {
      let row = row_of(place, r);
      let packed_scales = packed_scales_of(super_of(row, chunk));
      let packed = packed_of(block_of(row, chunk));
      for (var t = 0u; t < TOKENS; t++) {
        sums[t][r] += chunk_dot(packed_scales, chunk % 8u, packed, &numbers[t], halves[t]);
      }
    }
  }
  for (var t = 0u; t < TOKENS; t++) {
    var totals = array<f32, MAX_ROWS / 8u>();  // lane i holds that of row 8 e + i
    for (var e = 0u; e < ROWS / 8u; e++) {
      let r = 8u * e;
      let low = vec4f(sums[t][r], sums[t][r + 1u], sums[t][r + 2u], sums[t][r + 3u]);
      let high = vec4f(sums[t][r + 4u], sums[t][r + 5u], sums[t][r + 6u], sums[t][r + 7u]);
      let four = select(sum_lanes(low, lane), sum_lanes(high, lane), (lane & 4u) != 0u);
      totals[e] = four[lane & 3u];
    }
    let scale = input_scale(t, lane);
    if (first + t <= last) {
      output(place, first + t, &totals, scale, lane);
    }
  }
}
