// IQ4_NL: blocks of 32 with one scale; a nibble is an index into sixteen values. w = d iq4_values(q).
// Quants: 32 nibbles a chunk.
@group(0) @binding(9) var<storage, read> scales: array<u32>;        // [N, K/32] f16 d, two a word

fn load_chunk(block: u32) -> Chunk {
  let d = half_of(scales[block >> 1u], block);
  let quants = quants_of(block);
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = iq4_values(numbers_of(nibble_bytes(quants, i)));
  }
  c.scale = vec2f(d);
  return c;
}
