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
    var low_x = vec4f();
    var high_x = vec4f();
    for (var i = 0u; i < 4u; i++) {
      numbers[i] = x[chunk * 8u + i];
      numbers[i + 4u] = x[chunk * 8u + i + 4u];
      low_x += numbers[i];
      high_x += numbers[i + 4u];
    }
    let sums_x = vec2f(dot(low_x, vec4f(1.0)), dot(high_x, vec4f(1.0)));
    for (var r = 0u; r < ROWS; r++) {
      let row = min(first + r, matrix.rows - 1u);
      let u = unscaled(row, chunk);
      let scale = affine(row, chunk);
      var low = vec4f();
      var high = vec4f();
      for (var i = 0u; i < 4u; i++) {
        low += u[i] * numbers[i];
        high += u[i + 4u] * numbers[i + 4u];
      }
      sums[r] += dot(scale.x * low + scale.y * high, vec4f(1.0)) - dot(scale.zw, sums_x);
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
