// Q5_1: blocks of 32 with a scale, a minimum and a word of fifth bits. w = d q + m.
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;  // [N, K/32] 32 nibbles
@group(0) @binding(9) var<storage, read> fifths: array<u32>;        // [N, K/32] bit l: weight l
@group(0) @binding(10) var<storage, read> scales: array<u32>;       // [N, K/32] f16 d, f16 m

fn unscaled(row: u32, chunk: u32) -> array<vec4f, 8> {
  let block = row * matrix.chunks + chunk;
  let q = quants[block];
  let fifth = fifths[block];
  var u: array<vec4f, 8>;
  for (var i = 0u; i < 4u; i++) {
    u[i] = bytes_of((q[i] & 0x0f0f0f0fu) | (four_bits(fifth, i) << 4u));
    u[i + 4u] = bytes_of(((q[i] >> 4u) & 0x0f0f0f0fu) | (four_bits(fifth, i + 4u) << 4u));
  }
  return u;
}

fn affine(row: u32, chunk: u32) -> vec4f {
  let scale = unpack2x16float(scales[row * matrix.chunks + chunk]);
  return vec4f(scale.xx, -scale.yy);
}
