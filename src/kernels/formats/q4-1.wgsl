// Q4_1: blocks of 32 with a scale and a minimum. w = d q + m.
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;  // [N, K/32] 32 nibbles
@group(0) @binding(9) var<storage, read> scales: array<u32>;        // [N, K/32] f16 d, f16 m

fn unscaled(row: u32, chunk: u32) -> array<vec4f, 8> {
  return nibbles(quants[row * matrix.chunks + chunk]);
}

fn affine(row: u32, chunk: u32) -> vec4f {
  let scale = unpack2x16float(scales[row * matrix.chunks + chunk]);
  return vec4f(scale.xx, -scale.yy);
}
