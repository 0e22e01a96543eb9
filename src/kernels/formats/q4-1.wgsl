// Q4_1: blocks of 32 with a scale and a minimum. w = d q + m.
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;  // [N, K/32] 32 nibbles
@group(0) @binding(9) var<storage, read> scales: array<u32>;        // [N, K/32] f16 d, f16 m

fn load_chunk(row: u32, chunk: u32) -> Chunk {
  let block = row * matrix.chunks + chunk;
  let scale = unpack2x16float(scales[block]);
  let q = nibbles(quants[block]);
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = vec4f(q[i]);
  }
  c.scale = scale.xx;
  c.offset = scale.yy;
  return c;
}
