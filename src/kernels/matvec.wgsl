// y = W x + BETA y: a matrix of packed weights times one vector. Decoding spends its time on this page.
//
// A workgroup computes ROWS rows. Lane i takes chunks i, i + LANES, ... of the row: it loads its 32 numbers of x once
// and multiplies them with that chunk of every row, so neighbouring lanes read neighbouring bytes of W, and each
// number of x is loaded once for ROWS rows. Partial sums meet in `sum_lanes`. Memory: registers, one vec4 a lane.
// Appended: a weight format, `inputs/storage` or `inputs/uniform` for x [K], and `reduce`.
override BETA: f32 = 0;  // 1 adds to y, 0 replaces it
override LANES: u32 = 32;  // a power of two, at least ROWS
const ROWS = 8u;

@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [N]

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = (group.y * groups.x + group.x) * ROWS;
  var sums: array<f32, ROWS>;
  for (var chunk = lane; chunk < matrix.chunks; chunk += LANES) {
    var numbers: array<vec4f, 8>;
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
  let totals = array<vec4f, 2>(
    sum_lanes(vec4f(sums[0], sums[1], sums[2], sums[3]), lane),
    sum_lanes(vec4f(sums[4], sums[5], sums[6], sums[7]), lane),
  );
  if (lane < ROWS && first + lane < matrix.rows) {
    let row = matrix.first + first + lane;
    var result = select(totals[1], totals[0], lane < 4u)[lane % 4u];
    if (BETA != 0.0) {
      result += BETA * y[row];
    }
    y[row] = result;
  }
}
