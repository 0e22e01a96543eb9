// BF16: the upper half of an f32, two a word.

fn load_chunk(block: u32) -> Chunk {
  var c: Chunk;
  for (var i = 0u; i < 4u; i++) {
    let v = quants_of(4u * block + i);
    let even = bitcast<vec4f>(v << vec4<u32>(16u));
    let odd = bitcast<vec4f>(v & vec4<u32>(0xffff0000u));
    c.q[2u * i] = vec4f(even.x, odd.x, even.y, odd.y);
    c.q[2u * i + 1u] = vec4f(even.z, odd.z, even.w, odd.w);
  }
  c.scale = vec2f(1.0);
  return c;
}
