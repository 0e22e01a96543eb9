// y = W x, as one would write it down: lane i computes row i, one weight after the other.
// Of memory it reads, for every weight: a word of quants, three or four of the scales of its super-block, a number of x.
@group(0) @binding(0) var<storage, read> x: array<f32>;        // [K]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [N]
@group(0) @binding(8) var<storage, read> quants: array<u32>;   // [N, K/8] nibbles: byte j of a chunk holds q[j], q[j + 16]
@group(0) @binding(9) var<storage, read> scales: array<u32>;    // [N, K/256, 4] f16 d, f16 dmin; twelve bytes, see scale_and_min

struct Matrix {
  rows: u32,
  columns: u32,
  chunks: u32,
}
@group(0) @binding(7) var<uniform> matrix: Matrix;

override LANES: u32 = 8;

fn weight(row: u32, column: u32) -> f32 {
  let block = row * matrix.chunks + column / 32u;
  let byte = column % 16u;
  let shift = 8u * (byte % 4u) + 4u * (column % 32u / 16u);
  let q = (quants[block * 4u + byte / 4u] >> shift) & 15u;
  let packed_scales = 4u * (block / 8u);
  let d = unpack2x16float(scales[packed_scales]);
  let both = scale_and_min(packed_scales, block % 8u);
  return d.x * f32(both.x) * f32(q) - d.y * f32(both.y);
}

// Of chunk 0 to 7: six bits of the first eight bytes each, or four of the last four and two that are left of the others.
fn scale_and_min(packed_scales: u32, place: u32) -> vec2<u32> {
  let shift = 8u * (place % 4u);
  let whole = (vec2<u32>(scales[packed_scales + 1u], scales[packed_scales + 2u]) >> vec2<u32>(shift)) & vec2<u32>(255u);
  if (place < 4u) {
    return whole & vec2<u32>(63u);
  }
  let nibbles = (vec2<u32>(scales[packed_scales + 3u]) >> vec2<u32>(shift, shift + 4u)) & vec2<u32>(15u);
  return nibbles | ((whole >> vec2<u32>(6u)) << vec2<u32>(4u));
}

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= matrix.rows) {
    return;
  }
  var sum = 0.0;
  for (var column = 0u; column < matrix.columns; column++) {
    sum += weight(id.x, column) * x[column];
  }
  y[id.x] = sum;
}
