// Q2_K: super-blocks of 256; groups of 16 with a 4-bit scale and minimum. w = d scale q - dmin min.
// Its head: f16 d, f16 dmin; bytes: scale low, min high, two of a chunk.
@group(0) @binding(8) var<storage, read> pairs: array<vec2<u32>>;  // [N, K/32] 32 two-bit quants

fn load_chunk(row: u32, chunk: u32) -> Chunk {
  let block = row * matrix.chunks + chunk;
  let words = head(block / 8u, chunk);
  let super_scale = unpack2x16float(words.x);
  let two_scales = words.y >> (16u * (chunk & 1u));
  let quants = pairs[block];
  let packed = vec2<u32>(two_scales & 255u, byte_of(two_scales, 1u));
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = vec4f(pair(quants, i));
  }
  c.scale = super_scale.x * vec2f(packed & vec2<u32>(15u));
  c.offset = -super_scale.y * vec2f(packed >> vec2<u32>(4u));
  return c;
}
