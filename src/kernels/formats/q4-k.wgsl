// Q4_K: super-blocks of 256; chunks of 32 with a 6-bit scale and minimum. w = d scale q - dmin min.
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;  // [N, K/32] 32 nibbles
@group(0) @binding(9) var<storage, read> scales: array<u32>;        // [N, K/64] bytes: scale, min of two chunks
@group(0) @binding(10) var<storage, read> supers: array<u32>;       // [N, K/256] f16 d, f16 dmin

fn load_chunk(row: u32, chunk: u32) -> Chunk {
  let block = row * matrix.chunks + chunk;
  let packed = scales[block / 2u] >> (16u * (chunk & 1u));
  let scale = unpack2x16float(supers[block / 8u]) * vec2f(vec2<u32>(packed & 255u, byte_of(packed, 1u)));
  let q = nibbles(quants[block]);
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = vec4f(q[i]);
  }
  c.scale = scale.xx;
  c.offset = -scale.yy;
  return c;
}
