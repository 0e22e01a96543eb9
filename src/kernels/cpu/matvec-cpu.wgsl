// W x as `matvec`, for adapters that are CPUs: there a load costs more than what is done with it,
// and memory is fast if it is read in its order. So a workgroup is one subgroup of eight lanes,
// and each lane takes a row: no sums have to meet, and in the order of `interleaved` what the lanes
// load at a time lies side by side.
//
// Of a super-block of x, each lane loads a chunk and hands its numbers to all. Then rows pass, eight
// at a time. What a chunk needs is asked for before the one before is multiplied: a processor does
// not look so far ahead by itself. A second vector is another layer of workgroups. Appended: as for
// `matvec`, with planes in the order of `interleaved`; the reduction is the one of eight lanes.
// Memory: registers.
override ROWS: u32 = 64;  // a multiple of 8, at most MAX_ROWS: the more, the fewer loads of x
const LANES = 8u;
const MAX_ROWS = 1024u;
const MAX_TOKENS = 1u;

// A sum whose terms stay together: Mesa would add two products to `pair` one after the other, and so
// in another order than `matmul-cpu`. It does not look into bits, and does not know that no lane has
// a number above 255.
fn whole(sum: f32, lane: u32) -> f32 {
  return bitcast<f32>(bitcast<u32>(sum) | (lane >> 8u));
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let place = group.y * groups.x + group.x;
  var totals: array<f32, MAX_ROWS / 8u>;  // lane i holds that of row 8 e + i
  // Not known to compilers: some would unroll what does not fit the processor's cache of
  // instructions then.
  let eights = eights_of(place);
  for (var start = 0u; start < matrix.chunks; start += LANES) {
    var own = array<vec4f, 8>();  // zero beyond the row
    var own_halves = vec2f();
    if (start + lane < matrix.chunks) {
      for (var i = 0u; i < 8u; i++) {
        own[i] = input(group.z, 0u, (start + lane) * 8u + i);
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

    // In `interleaved`, LANES blocks from a chunk to the next one of its row. Beyond the last one,
    // that one again, times zeros.
    let last = min(LANES, matrix.chunks - start) - 1u;
    var row = row_of(place, lane);
    var packed_scales = packed_scales_of(super_of(row, start));
    var packed = packed_of(block_of(row, start));
    for (var e = 0u; e < eights; e++) {
      let block = block_of(row, start);
      row = row_of(place, 8u * (e + 1u) + lane);
      let these_scales = packed_scales;
      // ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)), as the lanes of `matmul-cpu` meet.
      var total = 0.0;
      var pair = 0.0;
      var four = 0.0;
      for (var c = 0u; c < LANES; c++) {
        let this_chunk = packed;
        if (c == LANES - 1u) {
          packed_scales = packed_scales_of(super_of(row, start));
          packed = packed_of(block_of(row, start));
        } else {
          packed = packed_of(block + LANES * min(c + 1u, last));
        }
        pair += whole(chunk_dot(these_scales, c, this_chunk, &numbers[c], halves[c]), lane);
        if ((c & 1u) == 1u) {
          four += pair;
          pair = 0.0;
        }
        if ((c & 3u) == 3u) {
          total += four;
          four = 0.0;
        }
      }
      totals[e] += total;
    }
  }
  output(place, group.z, &totals, input_scale(0u, lane), lane);
}
