// Q4_K: super-blocks of 256; chunks of 32 with a 6-bit scale and minimum. w = d scale q - dmin min.
// Its head: f16 d, f16 dmin; bytes: scale, min of a chunk.
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;  // [N, K/32] 32 nibbles

fn load_chunk(row: u32, chunk: u32) -> Chunk {
  let block = row * matrix.chunks + chunk;
  let words = head(block / 8u, chunk);
  let packed = words.y >> (16u * (chunk & 1u));
  let scale = unpack2x16float(words.x) * vec2f(vec2<u32>(packed & 255u, byte_of(packed, 1u)));
  let q = nibbles(quants[block]);
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = vec4f(q[i]);
  }
  c.scale = scale.xx;
  c.offset = -scale.yy;
  return c;
}
