// Q6_K: super-blocks of 256; groups of 16 with a signed byte scale. w = d scale (q - 32), q of six bits.
// Its head: f16 d; signed bytes: two scales of a chunk.
// Quants: 32 nibbles a chunk; pairs: the two upper bits.

fn load_chunk(block: u32) -> Chunk {
  let words = head(block);
  let two_scales = bitcast<i32>(words.y << (16u - 16u * (block & 1u)));
  let scale = unpack2x16float(words.x).x * vec2f(f32((two_scales << 8u) >> 24u), f32(two_scales >> 24u));
  let quants = quants_of(block);
  let upper = pairs_of(block);
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = vec4f(numbers_of(nibble_bytes(quants, i) | (pair_bytes(upper, i) << 4u)));
  }
  c.scale = scale;
  c.offset = -32.0 * scale;
  return c;
}
