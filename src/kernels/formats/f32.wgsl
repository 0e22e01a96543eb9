// F32: 4 bytes a weight.
@group(0) @binding(8) var<storage, read> values: array<vec4f>;  // [N, K/4], rows padded to 16 bytes

fn load_chunk(row: u32, chunk: u32) -> Chunk {
  let first = row * ((matrix.columns + 3u) / 4u) + chunk * 8u;
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = values[first + i];
  }
  c.scale = vec2f(1.0);
  return c;
}
