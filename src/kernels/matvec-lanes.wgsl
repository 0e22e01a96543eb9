// W x as `matvec`, for adapters that are CPUs: there a load costs more than what is done with it, and memory is fast
// where it is read in its order. So a workgroup is one subgroup of eight lanes, and each lane takes SPAN chunks of a row
// before the next row: where a row is no longer than that, the matrix is read from end to end. A total is complete
// when the lanes have exchanged their sums; lane i of eight keeps that of every eighth row from the i-th on.
// Appended: as for `matvec`; the reduction is the one of eight lanes. Memory: registers.
override ROWS: u32 = 64;  // a multiple of 8, at most MOST: the more, the fewer loads of x
override SPAN: u32 = 1;   // at most 3: a longer page would not fit the processor's cache of decoded instructions
const LANES = 8u;
const MOST = 1024u;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let place = group.y * groups.x + group.x;
  var totals: array<f32, MOST / 8u>;  // lane i holds that of row 8 e + i
  for (var start = 0u; start < matrix.chunks; start += SPAN * LANES) {
    let down = blocks_down(start);
    var blocks: array<u32, 3>;  // of row 0
    var numbers = array<array<vec4f, 8>, 3>();
    var halves = array<vec2f, 3>();
    for (var s = 0u; s < SPAN; s++) {
      let chunk = start + s * LANES + lane;
      blocks[s] = block_of(0u, min(chunk, matrix.chunks - 1u));  // beyond the row: one that exists, times zeros
      if (chunk < matrix.chunks) {
        for (var i = 0u; i < 8u; i++) {
          numbers[s][i] = input(chunk * 8u + i);
          halves[s][i >> 2u] += dot(numbers[s][i], vec4f(1.0));
        }
      }
    }
    for (var e = 0u; e < ROWS / 8u; e++) {
      var total = 0.0;
      for (var r = 0u; r < 8u; r++) {
        let row = row_of(place, 8u * e + r);
        var sum = 0.0;
        for (var s = 0u; s < SPAN; s++) {
          sum += chunk_dot(blocks[s] + row * down, &numbers[s], halves[s]);
        }
        total += select(0.0, sum_lanes(vec4f(sum), lane).x, lane == r);
      }
      totals[e] += total;
    }
  }
  output(place, &totals, input_scale(lane), lane);
}
