// Y = X W^T + beta Y for adapters that are CPUs: there a barrier costs more than it saves, and
// loads cost more than arithmetic. So no workgroup memory, a workgroup is one subgroup of 8 lanes,
// and what was loaded serves many times.
//
// Lane i takes chunks i, i + 8, ... of a row, as in `matvec`. It keeps that chunk of TOKENS tokens and
// lets the rows of W pass: each chunk of W is decoded once for all of them, four weights at a time
// multiply four tokens, and each number of X is loaded once for all rows of the workgroup. Eight sums
// of each of eight lanes, one a token, then become one a lane in three exchanges: in the order of
// `matvec-cpu`, so that a row comes to the same bits whatever else is in the step. Appended: a weight
// format; where X lies and whether it is normed on the way; the reduction of eight lanes.

const TOKENS = 8u;  // of a workgroup
const MAX_TOKENS = TOKENS;
const LANES = 8u;
const MAX_ROWS = 1024u;  // of a workgroup: those of a tile share the matrix
override LAST_SHARE: f32;  // of the last workgroup, if there is one tile: its size beside the others'

struct Params {
  tokens: u32,  // T
}

@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [T, N]
@group(0) @binding(3) var<uniform> params: Params;

// The dot products of a chunk of W with those of four tokens, each as `chunk_dot`: what is decoded
// stays in registers for all of them.
fn four_dots(
  c: Chunk,
  numbers: ptr<function, array<vec4f, MAX_TOKENS * 8u>>,
  halves: ptr<function, array<vec2f, MAX_TOKENS>>,
  first: u32,
) -> vec4f {
  var both = array<vec4f, 2>();  // of either half
  for (var j = 0u; j < 8u; j++) {
    let q = c.q[j];
    for (var t = 0u; t < 4u; t++) {
      both[j >> 2u][t] += dot(q, numbers[(first + t) * 8u + j]);
    }
  }
  var result: vec4f;
  for (var t = 0u; t < 4u; t++) {
    let low_and_high = vec2f(both[0][t], both[1][t]);
    result[t] = dot(c.scales.scale, low_and_high) + dot(c.scales.offset, halves[first + t]);
  }
  return result;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  // The last one of a single tile is shorter: see `matmulTiling`.
  let shares = f32(groups.x) - select(0.0, 1.0 - LAST_SHARE, groups.y == 1u && groups.x > 1u);
  let share = u32(ceil(f32(matrix.rows) / shares));
  let first = min(group.x * share, matrix.rows);
  let rows = min(share, matrix.rows - first);
  let tile = group.y * TOKENS;
  let end = min(tile + TOKENS, params.tokens);
  let tokens = end - tile;
  var numbers: array<vec4f, MAX_TOKENS * 8u>;  // zero for tokens that do not exist
  var halves: array<vec2f, MAX_TOKENS>;
  // Of token `lane`, four rows a place: Mesa sets an array to zero place by place, and 1,024 of them
  // cost it three quarters of the time that it takes to read this shader.
  var sums: array<vec4f, MAX_ROWS / 4u>;
  for (var start = 0u; start < matrix.chunks; start += LANES) {
    let chunk = min(start + lane, matrix.chunks - 1u);
    let exists = start + lane < matrix.chunks;
    for (var token = tile; token < end; token++) {
      let t = token - tile;
      var both = vec2f();
      for (var i = 0u; i < 8u; i++) {
        var four = vec4f();
        if (exists) {
          four = input(token, t, chunk * 8u + i);
        }
        numbers[t * 8u + i] = four;
        both[i >> 2u] += dot(four, vec4f(1.0));
      }
      halves[t] = both;
    }
    for (var r = 0u; r < rows; r += 4u) {
      var four = vec4f();
      for (var i = 0u; i < 4u; i++) {
        let c = load_chunk(first + min(r + i, rows - 1u), chunk);
        let low = four_dots(c, &numbers, &halves, 0u);
        var high = vec4f();
        if (tokens > 4u) {
          high = four_dots(c, &numbers, &halves, 4u);
        }
        let sum = sum_of_eight(low, high, lane);
        four = select(four, vec4f(sum), vec4<u32>(i) == vec4<u32>(0u, 1u, 2u, 3u));
      }
      sums[r / 4u] += four;
    }
  }
  var scale = 0.0;  // of token `lane`
  for (var t = 0u; t < TOKENS; t++) {
    scale = select(scale, input_scale(t, lane), t == lane);
  }
  let token = tile + lane;
  if (token < params.tokens) {
    for (var r = 0u; r < rows; r++) {
      let to = token * matrix.stride + matrix.first + first + r;
      var result = scale * sums[r / 4u][r & 3u];
      if (matrix.beta != 0.0) {
        result += matrix.beta * y[to];
      }
      y[to] = result;
    }
  }
}
