// Q3_K: super-blocks of 256; groups of 16 with a 6-bit scale. w = d (scale - 32) (q - 4), q of three bits.
// Pairs: 32 two-bit quants a chunk.
@group(0) @binding(9) var<storage, read> thirds: array<u32>;   // [N, K/32] bit l: third bit of weight l
@group(0) @binding(8) var<storage, read> scales: array<u32>;   // [N, K/256, 3] sixteen 6-bit scales
@group(0) @binding(11) var<storage, read> supers: array<u32>;  // [N, K/256] f16 d, two a word

// Scale `group` (0..15): nibbles in bytes 0..7 (low for 0..7, high for 8..15), upper pairs in bytes 8..11.
fn scale_of(first: u32, group: u32) -> f32 {
  let lower = (scales[first + ((group >> 2u) & 1u)] >> (8u * (group & 3u) + 4u * (group >> 3u))) & 15u;
  let upper = (scales[first + 2u] >> (8u * (group & 3u) + 2u * (group >> 2u))) & 3u;
  return f32(lower | (upper << 4u)) - 32.0;
}

fn load_chunk(block: u32) -> Chunk {
  let super_block = block / 8u;
  let group = 2u * (block % 8u);
  let d = half_of(supers[super_block >> 1u], super_block);
  let scale = d * vec2f(scale_of(3u * super_block, group), scale_of(3u * super_block, group + 1u));
  let quants = pairs_of(block);
  let third = thirds[block];
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = vec4f(numbers_of(pair_bytes(quants, i) | (bit_bytes(third, i) << 2u))) - 4.0;
  }
  c.scale = scale;
  return c;
}
