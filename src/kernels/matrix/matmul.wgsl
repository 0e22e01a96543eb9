// Y = X W^T + beta Y: a matrix of packed weights times the vectors of several tokens. Prefill
// spends its time here.
//
// A workgroup of 8 x 8 lanes computes a tile of 32 rows of W by 32 tokens, chunk after chunk: the
// lanes decode a chunk of each row, and fetch a chunk of each token, into workgroup memory; then
// every lane multiplies 4 rows by 4 tokens in registers, so that each number fetched is used four
// times. Memory: two tiles of [32, 8] vec4 (a row padded by one against bank conflicts), one mat4x4
// a lane.
const TILE = 32u;
const LANES = 64u;
const PITCH = 9u;

struct Params {
  tokens: u32,  // T
}

@group(0) @binding(0) var<storage, read> x: array<vec4f>;      // [T, K], rows padded with zeros to whole chunks
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [T, N]
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> w_tile: array<vec4f, TILE * PITCH>;
var<workgroup> x_tile: array<vec4f, TILE * PITCH>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first_row = group.x * TILE;
  let first_token = group.y * TILE;
  let rows = (lane % 8u) * 4u;
  let tokens = (lane / 8u) * 4u;
  var sums = mat4x4f();  // a column a token, a component a row
  for (var chunk = 0u; chunk < matrix.chunks; chunk++) {
    if (lane < TILE) {
      let w = weights(min(first_row + lane, matrix.rows - 1u), chunk);
      for (var i = 0u; i < 8u; i++) {
        w_tile[lane * PITCH + i] = w[i];
      }
    }
    for (var i = lane; i < TILE * 8u; i += LANES) {
      let token = min(first_token + i / 8u, params.tokens - 1u);
      x_tile[i / 8u * PITCH + i % 8u] = x[(token * matrix.chunks + chunk) * 8u + i % 8u];
    }
    workgroupBarrier();
    for (var i = 0u; i < 8u; i++) {
      let w = mat4x4f(
        w_tile[rows * PITCH + i],
        w_tile[(rows + 1u) * PITCH + i],
        w_tile[(rows + 2u) * PITCH + i],
        w_tile[(rows + 3u) * PITCH + i],
      );
      for (var t = 0u; t < 4u; t++) {
        sums[t] += x_tile[(tokens + t) * PITCH + i] * w;  // four dot products
      }
    }
    workgroupBarrier();
  }
  for (var t = 0u; t < 4u; t++) {
    for (var r = 0u; r < 4u; r++) {
      let token = first_token + tokens + t;
      let row = first_row + rows + r;
      if (token < params.tokens && row < matrix.rows) {
        let to = token * matrix.stride + matrix.first + row;
        var result = sums[t][r];
        if (matrix.beta != 0.0) {
          result += matrix.beta * y[to];
        }
        y[to] = result;
      }
    }
  }
}
