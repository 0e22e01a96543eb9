// Y = X W^T + beta Y as `matmul`, by the subgroup matrices of a graphics card: units that multiply
// small matrices of halves and add up in f32, many times faster than lanes do number by number.
//
// A workgroup of 2 x 2 subgroups computes a tile of 64 tokens by 64 rows of W, chunk after chunk:
// half of its lanes decode a chunk of each row, the others fetch a chunk of each token, into
// workgroup memory. Then each subgroup multiplies 32 tokens by 32 rows of them, matrix by matrix.
// The sums are written through workgroup memory, one matrix of every subgroup at a time, since the
// order of their numbers in registers is unknown.
//
// A number is split into two halves, high + low / 2048, which together have 22 bits, nearly those
// of an f32. Of the four products, low x low is too small to matter, and the two of high x low are
// summed apart. The factor 2048 keeps the low half of a small number from underflow to zero.
//                                                            Ootomo & Yokota 2022, arXiv:2203.03341
// Appended: a weight format, `matrices`, and a shape of them: M tokens, N rows and K weights, which
// divide 32.
enable f16;
enable subgroups;

override LANES: u32 = 32;     // of a subgroup
const SIDE = 2u;              // subgroups along either side of the tile
const TILE = SIDE * 32u;
const PITCH = 40u;            // halves from a row of a tile to the next: 32, padded against bank conflicts
const LOW = TILE * PITCH;     // where the low halves begin
const DOWN = 32u / M;         // matrices of a subgroup along the tokens
const ALONG = 32u / N;        // and along the rows

// Activations of some models exceed the largest half, so they are divided by four; what is still
// beyond, and weights beyond it, are clamped to it instead of becoming infinite. All 22 bits are
// kept of activations from 2^-12 and of weights from 2^-14 on, half of them below.
const SHRINK = 0.25;
const LARGEST = 65504.0;
const FINE = 2048.0;

struct Params {
  tokens: u32,  // T
}

@group(0) @binding(0) var<storage, read> x: array<vec4f>;      // [T, K], rows padded with zeros to whole chunks
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [T, N]
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> w_tile: array<f16, 2u * LOW>;
var<workgroup> x_tile: array<f16, 2u * LOW>;
var<workgroup> staging: array<f32, 2u * SIDE * SIDE * M * N>;

// NaN and infinities stay as they are; their low halves become NaN.
fn within_halves(four: vec4f) -> vec4f {
  let broken = (bitcast<vec4<u32>>(four) & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u);
  return select(clamp(four, vec4f(-LARGEST), vec4f(LARGEST)), four, broken);
}

@compute @workgroup_size(SIDE * SIDE * LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) place: u32,
  @builtin(local_invocation_index) lane: u32,
) {
  let first_row = group.x * TILE;
  let first_token = group.y * TILE;
  let rows = subgroup % SIDE * 32u;
  let tokens = subgroup / SIDE * 32u;
  let half = SIDE * LANES;
  let staging_base = subgroup * 2u * M * N;
  var sums: array<Products, DOWN * ALONG>;
  var rests: array<Products, DOWN * ALONG>;
  for (var chunk = 0u; chunk < matrix.chunks; chunk++) {
    if (lane < half) {
      for (var r = lane; r < TILE; r += half) {
        let w = weights(min(first_row + r, matrix.rows - 1u), chunk);
        for (var i = 0u; i < 8u; i++) {
          let four = within_halves(w[i]);
          let high = quantizeToF16(four);
          let low = FINE * (four - high);
          for (var j = 0u; j < 4u; j++) {
            w_tile[r * PITCH + 4u * i + j] = f16(high[j]);
            w_tile[r * PITCH + 4u * i + j + LOW] = f16(low[j]);
          }
        }
      }
    } else {
      for (var i = lane - half; i < TILE * 8u; i += half) {
        let token = min(first_token + i / 8u, params.tokens - 1u);
        let four = within_halves(SHRINK * x[(token * matrix.chunks + chunk) * 8u + i % 8u]);
        let high = quantizeToF16(four);
        let low = FINE * (four - high);
        for (var j = 0u; j < 4u; j++) {
          x_tile[i / 8u * PITCH + i % 8u * 4u + j] = f16(high[j]);
          x_tile[i / 8u * PITCH + i % 8u * 4u + j + LOW] = f16(low[j]);
        }
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k += K) {
      for (var d = 0u; d < DOWN; d++) {
        let high = tokens_at((tokens + d * M) * PITCH + k);
        let low = tokens_at((tokens + d * M) * PITCH + k + LOW);
        for (var a = 0u; a < ALONG; a++) {
          let s = d * ALONG + a;
          let right = rows_at((rows + a * N) * PITCH + k);
          sums[s] = multiply(high, right, sums[s]);
          rests[s] = multiply(low, right, rests[s]);
          rests[s] = multiply(high, rows_at((rows + a * N) * PITCH + k + LOW), rests[s]);
        }
      }
    }
    workgroupBarrier();
  }
  for (var s = 0u; s < DOWN * ALONG; s++) {
    store_products(staging_base, sums[s]);
    store_products(staging_base + M * N, rests[s]);
    workgroupBarrier();
    for (var i = place; i < M * N; i += LANES) {
      let token = first_token + tokens + s / ALONG * M + i / N;
      let row = first_row + rows + s % ALONG * N + i % N;
      if (token < params.tokens && row < matrix.rows) {
        let to = token * matrix.stride + matrix.first + row;
        var result = (staging[staging_base + i] + staging[staging_base + M * N + i] * (1.0 / FINE)) * (1.0 / SHRINK);
        if (matrix.beta != 0.0) {
          result += matrix.beta * y[to];
        }
        y[to] = result;
      }
    }
    workgroupBarrier();
  }
}
