// F16: IEEE binary16, two a word, so no shader-f16 is needed.

fn load_chunk(block: u32) -> Chunk {
  var c: Chunk;
  for (var i = 0u; i < 4u; i++) {
    let v = quants_of(4u * block + i);
    c.q[2u * i] = vec4f(unpack2x16float(v.x), unpack2x16float(v.y));
    c.q[2u * i + 1u] = vec4f(unpack2x16float(v.z), unpack2x16float(v.w));
  }
  c.scale = vec2f(1.0);
  return c;
}
