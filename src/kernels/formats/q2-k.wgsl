// Q2_K: super-blocks of 256; groups of 16 with a 4-bit scale and minimum. w = d scale q - dmin min.
@group(0) @binding(8) var<storage, read> pairs: array<vec2<u32>>;  // [N, K/32] 32 two-bit quants
@group(0) @binding(9) var<storage, read> scales: array<u32>;       // [N, K/64] four bytes: scale low, min high
@group(0) @binding(10) var<storage, read> supers: array<u32>;      // [N, K/256] f16 d, f16 dmin

fn unscaled(row: u32, chunk: u32) -> array<vec4f, 8> {
  let quants = pairs[row * matrix.chunks + chunk];
  var u: array<vec4f, 8>;
  for (var i = 0u; i < 8u; i++) {
    u[i] = bytes_of(four_pairs(quants, i));
  }
  return u;
}

fn affine(row: u32, chunk: u32) -> vec4f {
  let block = row * matrix.chunks + chunk;
  let super_scale = unpack2x16float(supers[block / 8u]);
  let packed = scales[block / 2u] >> (16u * (chunk & 1u));
  let two = vec2<u32>(packed, packed >> 8u);
  return vec4f(super_scale.x * vec2f(two & vec2<u32>(15u)), super_scale.y * vec2f((two >> vec2<u32>(4u)) & vec2<u32>(15u)));
}
