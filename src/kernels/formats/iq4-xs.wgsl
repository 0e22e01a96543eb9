// IQ4_XS: super-blocks of 256 with 6-bit scales a chunk; a nibble is an index. w = d (scale - 32) iq4_values(q).
// Quants: 32 nibbles a chunk.
@group(0) @binding(9) var<storage, read> headers: array<vec2<u32>>;  // [N, K/256] f16 d, upper scale bits; nibbles

fn load_chunk(block: u32) -> Chunk {
  let header = headers[block / 8u];
  let j = block % 8u;
  let lower = (header.y >> (4u * j)) & 15u;
  let upper = (header.x >> (16u + 2u * j)) & 3u;
  let scale = unpack2x16float(header.x).x * (f32(lower | (upper << 4u)) - 32.0);
  let quants = quants_of(block);
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = iq4_values(numbers_of(nibble_bytes(quants, i)));
  }
  c.scale = vec2f(scale);
  return c;
}
