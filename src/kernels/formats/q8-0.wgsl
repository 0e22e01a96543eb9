// Q8_0: blocks of 32 signed bytes with one scale. w = d q.
// Quants: two times 16 signed bytes a chunk.
@group(0) @binding(9) var<storage, read> scales: array<u32>;        // [N, K/32] f16 d, two a word

fn load_chunk(block: u32) -> Chunk {
  let d = half_of(scales[block >> 1u], block);
  var c: Chunk;
  for (var part = 0u; part < 2u; part++) {
    let q = quants_of(2u * block + part);
    for (var i = 0u; i < 4u; i++) {
      let bytes = vec4<i32>(bitcast<i32>(q[i])) << vec4<u32>(24u, 16u, 8u, 0u);
      c.q[4u * part + i] = vec4f(bytes >> vec4<u32>(24u));
    }
  }
  c.scale = vec2f(d);
  return c;
}
