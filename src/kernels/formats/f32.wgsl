// F32: 4 bytes a weight.
@group(0) @binding(8) var<storage, read> values: array<vec4f>;  // [N, K/32, 8]

fn load_chunk(block: u32) -> Chunk {
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = values[8u * block + i];
  }
  c.scale = vec2f(1.0);
  return c;
}
