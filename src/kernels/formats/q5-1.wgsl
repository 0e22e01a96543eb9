// Q5_1: blocks of 32 with a scale, a minimum and a word of fifth bits. w = d q + m.
// Quants: 32 nibbles a chunk.
@group(0) @binding(9) var<storage, read> fifths: array<u32>;        // [N, K/32] bit l: weight l
@group(0) @binding(10) var<storage, read> scales: array<u32>;       // [N, K/32] f16 d, f16 m

fn load_chunk(block: u32) -> Chunk {
  let scale = unpack2x16float(scales[block]);
  let quants = quants_of(block);
  let fifth = fifths[block];
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = vec4f(numbers_of(nibble_bytes(quants, i) | (bit_bytes(fifth, i) << 4u)));
  }
  c.scale = scale.xx;
  c.offset = scale.yy;
  return c;
}
