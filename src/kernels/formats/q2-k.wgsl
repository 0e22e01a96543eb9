// Q2_K: super-blocks of 256; groups of 16 with a 4-bit scale and minimum. w = d scale q - dmin min.
// Its head: f16 d, f16 dmin; bytes: scale low, min high, two of a chunk.
// Pairs: 32 two-bit quants a chunk.

fn load_chunk(block: u32) -> Chunk {
  let words = head(block);
  let super_scale = unpack2x16float(words.x);
  let two_scales = words.y >> (16u * (block & 1u));
  let quants = pairs_of(block);
  let packed = vec2<u32>(two_scales & 255u, byte_of(two_scales, 1u));
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = vec4f(numbers_of(pair_bytes(quants, i)));
  }
  c.scale = super_scale.x * vec2f(packed & vec2<u32>(15u));
  c.offset = -super_scale.y * vec2f(packed >> vec2<u32>(4u));
  return c;
}
