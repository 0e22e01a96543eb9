// y = W x + beta y: a matrix of packed weights times one vector. Decoding spends its time on this page.
//
// A workgroup computes ROWS rows. Lane i takes chunks i, i + LANES, ... of the row: it loads its 32 numbers of x once
// and multiplies them with that chunk of every row, so neighbouring lanes read neighbouring bytes of W, and each
// number of x is loaded once for ROWS rows. Partial sums meet in `sum_lanes`, four rows at a time. Memory: registers.
// Appended: a weight format; where x [K] lies, and whether it is normed on the way, of `inputs/`; a reduction.
override ROWS: u32 = 8;  // a multiple of 4, at most MOST: the more, the fewer loads of x, and the fewer workgroups
override LANES: u32 = 32;  // a power of two, at least 4
const MOST = 64u;

@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [N]

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = (group.y * groups.x + group.x) * ROWS;
  var sums: array<f32, MOST>;
  for (var chunk = lane; chunk < matrix.chunks; chunk += LANES) {
    var numbers: array<vec4f, 8>;
    var halves = vec2f();
    for (var i = 0u; i < 8u; i++) {
      numbers[i] = input(chunk * 8u + i);
      halves[i >> 2u] += dot(numbers[i], vec4f(1.0));
    }
    for (var r = 0u; r < ROWS; r++) {
      sums[r] += chunk_dot(min(first + r, matrix.rows - 1u), chunk, &numbers, halves);
    }
  }
  let scale = input_scale(lane);
  for (var r = 0u; r < ROWS; r += 4u) {
    let totals = scale * sum_lanes(vec4f(sums[r], sums[r + 1u], sums[r + 2u], sums[r + 3u]), lane);
    if (lane < 4u && first + r + lane < matrix.rows) {
      let row = matrix.first + first + r + lane;
      var result = totals[lane];
      if (matrix.beta != 0.0) {
        result += matrix.beta * y[row];
      }
      y[row] = result;
    }
  }
}
