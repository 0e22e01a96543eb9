// Q5_0: blocks of 32 with one scale and a word of fifth bits. w = d (q - 16).
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;  // [N, K/32] 32 nibbles
@group(0) @binding(9) var<storage, read> fifths: array<u32>;        // [N, K/32] bit l: weight l
@group(0) @binding(10) var<storage, read> scales: array<u32>;       // [N, K/32] f16 d, two a word

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
  let block = row * matrix.chunks + chunk;
  let d = half_of(scales[block >> 1u], block);
  return d * vec4f(1.0, 1.0, 16.0, 16.0);
}
