// F32: 4 bytes a weight.
@group(0) @binding(8) var<storage, read> values: array<vec4f>;  // [N, K/4], rows padded to 16 bytes

fn weights(row: u32, chunk: u32) -> array<vec4f, 8> {
  let first = row * ((matrix.columns + 3u) / 4u) + chunk * 8u;
  var w: array<vec4f, 8>;
  for (var i = 0u; i < 8u; i++) {
    w[i] = values[first + i];
  }
  return w;
}
