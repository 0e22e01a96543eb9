// IQ4_NL: blocks of 32 with one scale; a nibble is an index into sixteen values. w = d VALUES[q].
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;  // [N, K/32] 32 nibbles
@group(0) @binding(9) var<storage, read> scales: array<u32>;        // [N, K/32] f16 d, two a word

const VALUES = array<f32, 16>(
  -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
);

fn weights(row: u32, chunk: u32) -> array<vec4f, 8> {
  let block = row * matrix.chunks + chunk;
  let d = half_of(scales[block >> 1u], block);
  let q = nibbles(quants[block]);
  var values = VALUES;
  var w: array<vec4f, 8>;
  for (var i = 0u; i < 8u; i++) {
    w[i] = d * vec4f(values[q[i].x], values[q[i].y], values[q[i].z], values[q[i].w]);
  }
  return w;
}
