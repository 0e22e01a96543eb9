// As matvec-cpu.wgsl, but what a chunk needs is loaded when it is needed: a workgroup is one subgroup of eight lanes, and
// each lane takes a row, so that no sums have to meet.
// Appended: as for matvec.wgsl, with planes in the order of cpu/planes/interleaved; the reduction is the one of eight lanes.
override ROWS: u32 = 64;  // a multiple of 8, at most MAX_ROWS
const LANES = 8u;
const MAX_ROWS = 1024u;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let place = group.x;
  var totals: array<f32, MAX_ROWS / 8u>;  // lane i holds that of row 8 e + i
  // Not known to compilers: some would unroll what does not fit the processor's cache of instructions then.
  let eights = eights_of(place);
  for (var start = 0u; start < matrix.chunks; start += LANES) {
    var own = array<vec4f, 8>();  // zero beyond the row
    var own_halves = vec2f();
    if (start + lane < matrix.chunks) {
      for (var i = 0u; i < 8u; i++) {
        own[i] = input(0u, 0u, (start + lane) * 8u + i);
        own_halves[i >> 2u] += dot(own[i], vec4f(1.0));
      }
    }
    var numbers = array<array<vec4f, 8>, LANES>();
    var halves = array<vec2f, LANES>();
    for (var c = 0u; c < LANES; c++) {
      for (var i = 0u; i < 8u; i++) {
        numbers[c][i] = subgroupShuffle(own[i], c);
      }
      halves[c] = subgroupShuffle(own_halves, c);
    }

    // In `interleaved`, LANES blocks from a chunk to the next one of its row. Beyond the last one, that one again, times zeros.
    let last = min(LANES, matrix.chunks - start) - 1u;
    for (var e = 0u; e < eights; e++) {
      let row = row_of(place, 8u * e + lane);
      let packed_scales = packed_scales_of(super_of(row, start));
      let block = block_of(row, start);
      var total = 0.0;
      for (var c = 0u; c < LANES; c++) {
        let packed = packed_of(block + LANES * min(c, last));
        total += chunk_dot(packed_scales, c, packed, &numbers[c], halves[c]);
      }
      totals[e] += total;
    }
  }
  output(place, 0u, &totals, input_scale(0u, lane), lane);
}
