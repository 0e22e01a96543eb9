// Q4_0: blocks of 32 with one scale. w = d (q - 8).
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;  // [N, K/32] 32 nibbles
@group(0) @binding(9) var<storage, read> scales: array<u32>;        // [N, K/32] f16 d, two a word

fn unscaled(row: u32, chunk: u32) -> array<vec4f, 8> {
  return nibbles(quants[row * matrix.chunks + chunk]);
}

fn affine(row: u32, chunk: u32) -> vec4f {
  let block = row * matrix.chunks + chunk;
  let d = half_of(scales[block >> 1u], block);
  return d * vec4f(1.0, 1.0, 8.0, 8.0);
}
