// W x as `matvec`, for adapters that are CPUs: there a load costs more than what is done with it,
// and memory is fast if it is read in its order. So a workgroup is one subgroup of eight lanes, and
// each lane takes a row: no sums are added across lanes, and with `interleaved` planes the lanes
// load neighbouring addresses.
//
// Each lane loads one chunk of a super-block of x and shares it with all. Then the rows follow,
// eight at a time. A chunk is loaded before the previous one is multiplied, since a processor does
// not look that far ahead. Appended: as for `matvec`, with planes in the order of `interleaved`;
// the reduction is the one of eight lanes. Memory: registers.
override ROWS: u32 = 64;  // a multiple of 8, at most MAX_ROWS: the more, the fewer loads of x
override TOKENS: u32 = 1;  // at most MAX_TOKENS
const LANES = 8u;
const MAX_ROWS = 1024u;
const MAX_TOKENS = 4u;

struct Params {
  tokens: u32,  // T
}
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let place = group.y * groups.x + group.x;
  let first = group.z * TOKENS;
  let last_token = params.tokens - 1u;
  var totals: array<array<f32, MAX_ROWS / 8u>, MAX_TOKENS>;  // lane i holds that of row 8 e + i
  // Not known to compilers: some would unroll what does not fit the processor's cache of
  // instructions then.
  let eights = eights_of(place);
  for (var start = 0u; start < matrix.chunks; start += LANES) {
    var numbers = array<array<array<vec4f, 8>, LANES>, MAX_TOKENS>();
    var halves = array<array<vec2f, LANES>, MAX_TOKENS>();
    for (var t = 0u; t < TOKENS; t++) {
      var own = array<vec4f, 8>();  // zero beyond the row
      var own_halves = vec2f();
      if (start + lane < matrix.chunks) {
        for (var i = 0u; i < 8u; i++) {
          own[i] = input(min(first + t, last_token), t, (start + lane) * 8u + i);
          own_halves[i >> 2u] += dot(own[i], vec4f(1.0));
        }
      }
      for (var c = 0u; c < LANES; c++) {
        for (var i = 0u; i < 8u; i++) {
          numbers[t][c][i] = subgroupShuffle(own[i], c);
        }
        halves[t][c] = subgroupShuffle(own_halves, c);
      }
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
      var total = array<f32, MAX_TOKENS>();
      for (var c = 0u; c < LANES; c++) {
        let this_chunk = packed;
        if (c == LANES - 1u) {
          packed_scales = packed_scales_of(super_of(row, start));
          packed = packed_of(block_of(row, start));
        } else {
          packed = packed_of(block + LANES * min(c + 1u, last));
        }
        for (var t = 0u; t < TOKENS; t++) {
          total[t] += chunk_dot(these_scales, c, this_chunk, &numbers[t][c], halves[t][c]);
        }
      }
      for (var t = 0u; t < TOKENS; t++) {
        totals[t][e] += total[t];
      }
    }
  }
  for (var t = 0u; t < TOKENS; t++) {
    let scale = input_scale(t, lane);
    if (first + t <= last_token) {
      output(place, first + t, &totals[t], scale, lane);
    }
  }
}
