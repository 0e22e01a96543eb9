// Q5_K: super-blocks of 256; chunks of 32 with a 6-bit scale and minimum. w = d scale q - dmin min, q of five bits.
// Its head: f16 d, f16 dmin; bytes: scale, min of a chunk.
// Quants: 32 nibbles a chunk.
@group(0) @binding(10) var<storage, read> fifths: array<u32>;       // [N, K/32] bit l: weight l

fn load_chunk(block: u32) -> Chunk {
  let words = head(block);
  let packed = words.y >> (16u * (block & 1u));
  let scale = unpack2x16float(words.x) * vec2f(vec2<u32>(packed & 255u, byte_of(packed, 1u)));
  let quants = quants_of(block);
  let fifth = fifths[block];
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = vec4f(numbers_of(nibble_bytes(quants, i) | (bit_bytes(fifth, i) << 4u)));
  }
  c.scale = scale.xx;
  c.offset = -scale.yy;
  return c;
}
