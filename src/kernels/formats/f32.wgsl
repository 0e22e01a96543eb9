// F32: 4 bytes a weight.

fn load_chunk(block: u32) -> Chunk {
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = bitcast<vec4f>(quants_of(8u * block + i));
  }
  c.scale = vec2f(1.0);
  return c;
}
