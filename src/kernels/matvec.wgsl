// y = W x + BETA y: a matrix of packed weights times one vector. Decoding spends its time on this page.
//
// A workgroup computes ROWS rows. Lane i takes chunks i, i + LANES, ... of the row: it loads its 32 numbers of x once
// and multiplies them with that chunk of every row, so neighbouring lanes read neighbouring bytes of W, and each
// number of x is loaded once for ROWS rows. Partial sums meet in `sum_lanes`. Memory: registers, one vec4 a lane.
override N: u32;          // rows of W
override K: u32;          // length of a row
override FIRST: u32 = 0;  // first row of y that this part of W computes
override BETA: f32 = 0;   // 1 adds to y, 0 replaces it
override LANES: u32 = 32;
const ROWS = 4u;

@group(0) @binding(0) var<storage, read> x: array<vec4f>;     // [K], padded with zeros to whole chunks
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [FIRST + N]

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = (group.y * groups.x + group.x) * ROWS;
  var sums = vec4f();
  for (var chunk = lane; chunk < chunks(); chunk += LANES) {
    var numbers: array<vec4f, 8>;
    for (var i = 0u; i < 8u; i++) {
      numbers[i] = x[chunk * 8u + i];
    }
    for (var r = 0u; r < ROWS; r++) {
      let w = weights(first + r, chunk);
      var sum = vec4f();
      for (var i = 0u; i < 8u; i++) {
        sum += w[i] * numbers[i];
      }
      sums[r] += dot(sum, vec4f(1.0));
    }
  }
  sums = sum_lanes(sums, lane);
  if (lane < ROWS && first + lane < N) {
    let row = FIRST + first + lane;
    var result = sums[lane];
    if (BETA != 0.0) {
      result += BETA * y[row];
    }
    y[row] = result;
  }
}
