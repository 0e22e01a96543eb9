// Q6_K: super-blocks of 256; groups of 16 with a signed byte scale. w = d scale (q - 32), q of six bits.
// Its head: f16 d; signed bytes: two scales of a chunk.
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;  // [N, K/32] 32 nibbles
@group(0) @binding(10) var<storage, read> pairs: array<vec2<u32>>;  // [N, K/32] 32 upper bit pairs

fn load_chunk(row: u32, chunk: u32) -> Chunk {
  let block = row * matrix.chunks + chunk;
  let words = head(block / 8u, chunk);
  let two_scales = bitcast<i32>(words.y << (16u - 16u * (chunk & 1u)));
  let scale = unpack2x16float(words.x).x * vec2f(f32((two_scales << 8u) >> 24u), f32(two_scales >> 24u));
  let q = nibbles(quants[block]);
  let upper = pairs[block];
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = vec4f(q[i] | (pair(upper, i) << vec4<u32>(4u)));
  }
  c.scale = scale;
  c.offset = -32.0 * scale;
  return c;
}
