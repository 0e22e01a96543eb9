// Q4_1: blocks of 32 with a scale and a minimum. w = d q + m.
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;  // [N, K/32] 32 nibbles
@group(0) @binding(9) var<storage, read> scales: array<u32>;        // [N, K/32] f16 d, f16 m

fn weights(row: u32, chunk: u32) -> array<vec4f, 8> {
  let block = row * matrix.chunks + chunk;
  let scale = unpack2x16float(scales[block]);
  let q = nibbles(quants[block]);
  var w: array<vec4f, 8>;
  for (var i = 0u; i < 8u; i++) {
    w[i] = scale.x * vec4f(q[i]) + scale.y;
  }
  return w;
}
