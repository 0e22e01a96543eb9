// Q5_K: super-blocks of 256; chunks of 32 with a 6-bit scale and minimum. w = d scale q - dmin min, q of five bits.
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;    // [N, K/32] 32 nibbles
@group(0) @binding(9) var<storage, read> fifths: array<u32>;          // [N, K/32] bit l: weight l
@group(0) @binding(10) var<storage, read> scales: array<u32>;         // [N, K/64] bytes: scale, min of two chunks
@group(0) @binding(11) var<storage, read> supers: array<u32>;         // [N, K/256] f16 d, f16 dmin

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
  let packed = scales[block / 2u] >> (16u * (chunk & 1u));
  let scale = unpack2x16float(supers[block / 8u]) * vec2f(vec2<u32>(packed & 255u, byte_of(packed, 1u)));
  return scale.xxyy;
}
