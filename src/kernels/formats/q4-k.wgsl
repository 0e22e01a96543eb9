// Q4_K: super-blocks of 256; chunks of 32 with a 6-bit scale and minimum. w = d scale q - dmin min.
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;   // [N, K/32] 32 nibbles
@group(0) @binding(9) var<storage, read> headers: array<vec4<u32>>;  // [N, K/256] f16 d, dmin; 12 bytes of scales

fn weights(row: u32, chunk: u32) -> array<vec4f, 8> {
  let block = row * matrix.chunks + chunk;
  let scale = scale_and_min(headers[block / 8u], chunk % 8u);
  let q = nibbles(quants[block]);
  var w: array<vec4f, 8>;
  for (var i = 0u; i < 8u; i++) {
    w[i] = scale.x * vec4f(q[i]) - scale.y;
  }
  return w;
}
