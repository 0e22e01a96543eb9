// No weights, but a probe: in place of Q4_K, all that it loads, and next to nothing done with it. Appended with its head.
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;  // [N, K/32]

fn load_chunk(row: u32, chunk: u32) -> Chunk {
  let block = row * matrix.chunks + chunk;
  var c: Chunk;
  c.q[0] = vec4f(quants[block] ^ head(block / 8u, chunk).xyxy);
  c.scale = vec2f(1.0);
  return c;
}
