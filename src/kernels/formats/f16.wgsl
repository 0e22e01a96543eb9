// F16: IEEE binary16, two a word, so no shader-f16 is needed.
@group(0) @binding(8) var<storage, read> values: array<vec4<u32>>;  // [N, K/8], rows padded to 16 bytes

fn weights(row: u32, chunk: u32) -> array<vec4f, 8> {
  let first = row * ((matrix.columns + 7u) / 8u) + chunk * 4u;
  var w: array<vec4f, 8>;
  for (var i = 0u; i < 4u; i++) {
    let v = values[first + i];
    w[2u * i] = vec4f(unpack2x16float(v.x), unpack2x16float(v.y));
    w[2u * i + 1u] = vec4f(unpack2x16float(v.z), unpack2x16float(v.w));
  }
  return w;
}
